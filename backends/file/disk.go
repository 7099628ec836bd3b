package file

import "time"

// disk is everything the protocol needs of the file system, the kernel and the
// clocks of one host. Each method is one step: a process may be stopped, for
// any time or for ever, before and after it, and the protocol must not care.
// The real one is hostDisk; the model check has one in memory.
type disk interface {
	// open makes the directories and takes the liveness lock, which stays locked
	// until close. It is called again if it failed.
	open() error
	// identify checks the directory without writing to it and returns the
	// identity of the clock; it creates nothing, so that followers may only look.
	identify() (clock string, err error)
	// owner names the liveness lock that open took.
	owner() lockRef
	// close gives up the liveness lock. With keep the lock file stays, free: the
	// records that name it show a dead owner. Without it the file is removed.
	close(keep bool) error

	// clock reads the suspend-inclusive clock that expiries are written by.
	clock() (time.Duration, error)
	// wall reads the wall clock, for tokens and for people.
	wall() time.Time

	// ensureGroup makes the directory of a group and its marker.
	ensureGroup(group string) error
	// generations lists a group's generations in ascending order, in one look. A
	// group that does not exist has none.
	generations(group string) ([]uint64, error)
	// load reads a whole generation file; fs.ErrNotExist if there is none.
	load(group string, gen uint64) ([]byte, error)
	// remove unlinks a generation.
	remove(group string, gen uint64) error
	// probe looks at an owner's liveness lock.
	probe(owner lockRef) liveness

	// notifier begins to tell changes of groups' directories to event, or fails
	// where the system cannot.
	notifier(event func(change)) (notifier, error)

	// stage writes and fsyncs a file that nobody else sees yet.
	stage(image []byte) (recordFile, error)
}

// recordFile is a generation file in the hands of its owner.
type recordFile interface {
	// publish gives the file its number; fs.ErrExist if the number is taken. After
	// nil the number is durable. After another error the file may have it.
	publish(group string, gen uint64) error
	// begins reports whether the file still begins like this. The slots may differ.
	begins(image []byte) (bool, error)
	// inPlace reports whether the number still leads to this very file.
	inPlace() (bool, error)
	// write is one pwrite.
	write(p []byte, offset int64) error
	// close releases the file, and removes it if it was never published. Closing
	// a published file wakes those who watch the group.
	close() error
}

// liveness is what the lock of an owner says.
type liveness int

const (
	// ownerUnknown: no such lock file, another file of that name, or no answer.
	ownerUnknown liveness = iota
	ownerAlive
	ownerDead
)

// notifier tells changes of the directories of some groups.
type notifier interface {
	add(group string) error
	remove(group string)
	// close returns when event is not running any more.
	close() error
}

// change is what happened in a group's directory.
type change struct {
	kind  changeKind
	group string // empty for changesMissed
	gen   uint64
}

type changeKind int

const (
	// generationClosed: the owner resigned, lost or died.
	generationClosed changeKind = iota
	generationAdded
	generationRemoved
	// groupGone: the directory was removed or renamed, and its watch ended.
	groupGone
	// changesMissed: the kernel dropped notifications.
	changesMissed
)
