// Package azblob elects leaders over Azure Blob Storage: one blob per group,
// held under a lease of 15 to 60 seconds.
//
//	b, err := azblob.Open(ctx, azblob.Options{
//		AccountURL: "https://account.blob.core.windows.net",
//		Credential: credential, // for instance of azidentity.NewDefaultAzureCredential
//	})
//
// # How it works
//
// The lease decides, by Azure's clock. Its lease id is the nonce of the term, so
// that an acquire whose reply was lost finds itself again. It is never infinite:
// a leader that died is replaced after its TTL.
//
// A lease counts nothing, so the fencing token is a number in the blob's
// metadata. It is written under the new lease and on the condition that the
// blob has not changed since it was read (If-Match); only after that write does
// the driver report a success. A leader therefore sends three requests to begin
// a term, one to renew it (two if its metadata changed) and two to resign it. A
// follower's attempt is one request.
//
// Azure tells nobody how long a lease still runs, and pushes nothing: followers
// poll, every min(ElectionInterval, TTL/4), and that is how long a planned
// handover takes.
//
// A token is at least the time of the store in microseconds, so that tokens
// still increase after somebody deleted the blob. The store tells its time in
// whole seconds only; below that the order of terms before and after a deletion
// rests on the clocks of the participants.
//
// # Who can break it
//
// Azure lets whoever may write blobs break a lease at once ("az storage blob
// lease break"), or delete and replace a blob whose lease was broken. Its leader
// learns of that with its next renewal; until then two may lead, and only the
// fencing token protects the resource.
//
// # Permissions
//
// Read, create and write on the blobs of the container (the role Storage Blob
// Data Contributor, or a shared access signature with rcw), and the right to
// create the container unless [Options.NoAutoCreate] is set.
package azblob
