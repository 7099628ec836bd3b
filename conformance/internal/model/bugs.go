package model

// Bug is one way in which a store or its driver is broken.
type Bug string

// None is the correct store.
const None Bug = ""

// The bugs, each with what is wrong.
const (
	CheckThenAct         Bug = "acquire checks first and writes later"
	ExpiryBeforeClock    Bug = "acquire reads the expiry before the clock and never looks again"
	SessionOwns          Bug = "acquire takes a record of the same client's session for its own"
	ParticipantOwns      Bug = "acquire takes a record of the same participant for its own"
	HolderIsAsker        Bug = "the refusal names the asker as the holder"
	RemainingTooShort    Bug = "the remaining time is told as half of what it is"
	ExpiresEarly         Bug = "the store keeps a term shorter than it grants"
	EarlyByOneTick       Bug = "the group is granted one tick before the expiry"
	ClientClock          Bug = "expiry is judged by the client's clock"
	ExpiresLate          Bug = "a dead leader's term is kept ten times as long"
	GrantsMore           Bug = "more is granted than was asked for"
	WaitForHolder        Bug = "acquire waits for the holder"
	AcquireWaitsForLock  Bug = "acquire waits for somebody's lock"
	CancelledIsAbsent    Bug = "a cancelled read says that nobody leads"
	KeepsMap             Bug = "the caller's metadata map is kept"
	RetryDoesNotExtend   Bug = "a repeated acquire is told the whole TTL but extends nothing"
	RetryNewToken        Bug = "a repeated acquire gets a new token"
	RetryNewBegin        Bug = "a repeated acquire moves acquired-at"
	ExpiredIsMine        Bug = "a repeated acquire takes its expired record for a success"
	GrantFromMemory      Bug = "a repeated acquire is answered from the client's memory"
	SessionOrphan        Bug = "a late acquire is kept alive by the session of other terms"
	ForgetResigned       Bug = "the store forgets which nonce resigned"
	ResignAlwaysOK       Bug = "resigning a term that never began is called a success"
	RenewDoesNothing     Bug = "renew answers without extending"
	RenewShortens        Bug = "renew sets the expiry to now + TTL even if that is earlier"
	RenewOldClock        Bug = "renew waits for a lock and then sets the expiry from when it was sent"
	RenewUpserts         Bug = "renew creates the record if there is none"
	RenewRevives         Bug = "renew brings a resigned term back"
	RenewAfterOthers     Bug = "renew brings a term back after another has led and gone"
	RenewByParticipant   Bug = "renew matches the participant instead of the nonce"
	RenewExpired         Bug = "renew extends an expired term without declaring it"
	RenewClearsMetadata  Bug = "renew without metadata clears it"
	MetadataChangesToken Bug = "a change of metadata changes the token"
	RenewSessionOnly     Bug = "renew asks for the session only, not for the record"
	RenewRepairs         Bug = "renew repairs a record somebody overwrote"
	BatchIsOne           Bug = "one lost term of a batch fails all"
	SmallBatches         Bug = "batches as large as declared are refused"
	RenewWaitsForLock    Bug = "renew waits for a locked record, and the batch with it"
	BatchesDeadlock      Bug = "batches hold some locks while they wait for others"
	BatchReadGaps        Bug = "a batch of reads leaves one group out"
	BatchAcquireStale    Bug = "a batch of attempts decides by what it read first"
	ResignDoesNotFree    Bug = "resign leaves the term to expire"
	ResignByParticipant  Bug = "resign matches the participant instead of the nonce"
	ResignByToken        Bug = "resign matches the token instead of the nonce"
	ResignNeedsToken     Bug = "resign fails without the token"
	ResignCreates        Bug = "resign of an unknown term creates a record"
	ResignExpiredOK      Bug = "resigning an expired term is called a success"
	ResignResetsToken    Bug = "resign deletes the record with the counter and the resigned nonce"
	TokenPerParticipant  Bug = "the token stays when the same participant leads again"
	TokenPerClient       Bug = "the counter lives in the client"
	TokenFromCounter     Bug = "the token is the previous one plus one and starts again after a loss of the record"
	CounterInMemory      Bug = "the counter is lost in a restart of the store"
	TokenFromClock       Bug = "the token is the clock alone"
	TokenFloat           Bug = "the token is computed in floating point"
	IdleOverflow         Bug = "the idle time overflows 32 bits of milliseconds"
	LeaderTokenStale     Bug = "others are told an older token than was granted"
	LeaderExpired        Bug = "an expired leader is still reported"
	LeaderAfterResign    Bug = "a resigned leader is still reported"
	RemainingIsTTL       Bug = "the remaining time is always told as the TTL"
	BeganUnknown         Bug = "the time the term began is not told"
	NoWake               Bug = "resign wakes nobody"
	LateWake             Bug = "resign wakes the followers seconds later"
	WakeGap              Bug = "the watch begins some time after Add has returned"
	WatchDiesOnReconnect Bug = "the watch is dead after a reconnect"
	NoWakeAll            Bug = "followers are not woken after a reconnect"
	WatchesLastOnly      Bug = "only the group added last is watched"
	RemoveRemovesAll     Bug = "removing one group ends the watch of all"
	SaysLostOfLive       Bug = "a live term is called lost"
	PushAfterClose       Bug = "pushes still come after Close"
	SessionEndUnnoticed  Bug = "the end of the session goes unnoticed"
	FoldCase             Bug = "group names are compared without case"
	FoldPunctuation      Bug = "dots and underscores in names are the same"
	TruncateNames        Bug = "names are cut at 64 characters"
	MetadataMangled      Bug = "metadata is trimmed and its keys folded"
	NonceIsGlobal        Bug = "a nonce is looked up in all groups"
	UseAfterClose        Bug = "a closed driver goes on working"
	CloseTwiceFails      Bug = "closing twice is an error"
	CloseResignsOthers   Bug = "closing ends the terms of others with the same participant"
	CloseWaits           Bug = "close takes ten seconds"
	LeakGoroutine        Bug = "a goroutine stays behind after close"
	NoClamp              Bug = "a clock stepped back keeps a dead leader's term for an hour"
	HiddenRequests       Bug = "the client sends ten requests for each that is asked for"
	RestartFrees         Bug = "a restart of the store frees live terms"
	OneConnection        Bug = "all calls of a client wait for one connection"
	ConnectionIsSession  Bug = "a broken connection frees the client's terms"
	LateWriteRewinds     Bug = "a late duplicate of an acquire sets the token back"
	NoExpiryWake         Bug = "an expiry wakes nobody"
	ClampFrees           Bug = "a clock stepped back frees a live term"
	NamesOverwrite       Bug = "names that differ in case overwrite each other's record"
	RetryKeepsExpiry     Bug = "a repeated acquire extends nothing and says so"
	MetadataStays        Bug = "a new term without metadata shows that of the dead one"
	BeganStays           Bug = "a new term shows when the first one began"
	WakesOthersOnly      Bug = "resign wakes the followers of other clients only"
	WakesTooEarly        Bug = "resign wakes the followers before the group is free"
	WakesAlways          Bug = "followers are woken again and again for nothing"
	BatchOnce            Bug = "a batch that is sent again is called lost"
	BatchReadExpired     Bug = "a batch of reads tells expired leaders"
	BatchForgetsResigned Bug = "a batch of attempts does not look at the nonce that resigned"
	PingAlwaysOK         Bug = "a ping succeeds without the store"
	RequestPerTerm       Bug = "a batch is sent as one request for each term"
	RenewGrantsMore      Bug = "a renewal is granted more than the store keeps"
	CancelledIsLost      Bug = "a cancelled resign says that the term is lost"
)

// Caught says which rule is to catch a bug.
type Caught struct {
	Bug  Bug
	Rule string
}

// Bugs lists all bugs.
func Bugs() []Caught {
	return []Caught{
		{CheckThenAct, "ACQ-one-winner"},
		{ExpiryBeforeClock, "ACQ-renew-race"},
		{SessionOwns, "ACQ-one-client"},
		{ParticipantOwns, "ACQ-held"},
		{HolderIsAsker, "ACQ-held"},
		{RemainingTooShort, "LDR-remaining"},
		{ExpiresEarly, "ACQ-no-early"},
		{EarlyByOneTick, "CLK-tick"},
		{ClientClock, "CLK-tick"},
		{ExpiresLate, "ACQ-soon-after"},
		{GrantsMore, "ACQ-no-early"},
		{WaitForHolder, "ACQ-prompt"},
		{AcquireWaitsForLock, "ACQ-locked"},
		{CancelledIsAbsent, "ACQ-cancelled"},
		{KeepsMap, "ACQ-metadata"},
		{RetryDoesNotExtend, "ACQ-anchor"},
		{RetryNewToken, "ACQ-retry"},
		{RetryNewBegin, "ACQ-retry"},
		{ExpiredIsMine, "ACQ-expired-untaken"},
		{GrantFromMemory, "ACQ-expired-taken"},
		{SessionOrphan, "ACQ-late"},
		{ForgetResigned, "ACQ-after-resign"},
		{ResignAlwaysOK, "ACQ-overtaken"},
		{RenewDoesNothing, "REN-extends"},
		{RenewShortens, "REN-never-shortens"},
		{RenewOldClock, "REN-order"},
		{RenewUpserts, "REN-never-held"},
		{RenewRevives, "REN-after-resign"},
		{RenewAfterOthers, "REN-after-taken"},
		{RenewByParticipant, "REN-other-nonce"},
		{RenewExpired, "REN-expired-untaken"},
		{RenewClearsMetadata, "REN-token"},
		{MetadataChangesToken, "REN-token"},
		{RenewSessionOnly, "REN-removed"},
		{RenewRepairs, "REN-corrupt"},
		{BatchIsOne, "BAT-mixed"},
		{SmallBatches, "BAT-full"},
		{RenewWaitsForLock, "BAT-locked"},
		{BatchesDeadlock, "BAT-overlap"},
		{BatchReadGaps, "BAT-read"},
		{BatchAcquireStale, "BAT-acquire"},
		{ResignDoesNotFree, "RES-frees"},
		{ResignByParticipant, "RES-twice"},
		{ResignByToken, "RES-reacquired"},
		{ResignNeedsToken, "RES-unknown-token"},
		{ResignCreates, "RES-nothing"},
		{ResignExpiredOK, "RES-expired"},
		{ResignResetsToken, "FEN-resign"},
		{TokenPerParticipant, "FEN-expiry"},
		{TokenPerClient, "FEN-reopen"},
		{TokenFromCounter, "FEN-removed"},
		{CounterInMemory, "FEN-restart"},
		{TokenFromClock, "FEN-large"},
		{TokenFloat, "FEN-large"},
		{IdleOverflow, "FEN-idle"},
		{LeaderTokenStale, "FEN-leader"},
		{LeaderExpired, "LDR-expired"},
		{LeaderAfterResign, "LDR-none"},
		{RemainingIsTTL, "LDR-remaining"},
		{BeganUnknown, "LDR-live"},
		{NoWake, "WAK-resign"},
		{LateWake, "WAK-resign"},
		{WakeGap, "WAK-no-gap"},
		{WatchDiesOnReconnect, "WAK-cut"},
		{NoWakeAll, "WAK-cut"},
		{WatchesLastOnly, "WAK-many"},
		{RemoveRemovesAll, "WAK-again"},
		{SaysLostOfLive, "WAK-quiet"},
		{PushAfterClose, "WAK-close"},
		{SessionEndUnnoticed, "WAK-session"},
		{FoldCase, "NAM-distinct"},
		{FoldPunctuation, "NAM-distinct"},
		{TruncateNames, "NAM-distinct"},
		{MetadataMangled, "NAM-values"},
		{NonceIsGlobal, "NAM-isolated"},
		{UseAfterClose, "CLS-use-after"},
		{CloseTwiceFails, "CLS-idempotent"},
		{CloseResignsOthers, "CLS-others"},
		{CloseWaits, "CLS-in-flight"},
		{LeakGoroutine, "CLS-leak"},
		{NoClamp, "CLK-back"},
		{ClampFrees, "CLK-back"},
		{TokenFromCounter, "FEN-loss"},
		{TokenFromCounter, "FEN-restored"},
		{RenewSessionOnly, "REN-replaced"},
		{RetryDoesNotExtend, "CLK-granted"},
		{TokenFromClock, "CLK-back-live"},
		{TokenFromClock, "CLK-forward"},
		{TokenPerClient, "FEN-churn"},
		{NoExpiryWake, "WAK-expiry"},
		{ResignByParticipant, "RES-late"},
		{RestartFrees, "FAIL-restart"},
		{OneConnection, "FAIL-stall"},
		{ConnectionIsSession, "FAIL-resets"},
		{LateWriteRewinds, "ACQ-after-resign"},
		{CheckThenAct, "RACE-churn"},
		{CheckThenAct, "RACE-faults"},
		{NoClamp, "FAIL-clock"},
		{SessionEndUnnoticed, "FAIL-session"},
		{RenewSessionOnly, "FAIL-removed"},
		{HiddenRequests, "SIZ-network"},
		{NoWake, "FAIL-handover"},
		{WakesTooEarly, "FAIL-handover"},
		{NamesOverwrite, "NAM-distinct"},
		{RetryKeepsExpiry, "ACQ-anchor"},
		{MetadataStays, "ACQ-soon-after"},
		{BeganStays, "ACQ-soon-after"},
		{WakesOthersOnly, "WAK-own"},
		{WakesAlways, "SIZ-follower"},
		{BatchOnce, "BAT-again"},
		{RenewRevives, "BAT-again"},
		{BatchReadExpired, "BAT-read"},
		{BatchForgetsResigned, "BAT-acquire"},
		{PingAlwaysOK, "LDR-ping"},
		{RequestPerTerm, "SIZ-network"},
		{RenewGrantsMore, "ACQ-no-early"},
		{CancelledIsLost, "ACQ-cancelled"},
	}
}
