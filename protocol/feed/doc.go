// Package feed makes what a person reads of what devices sent: notices with
// their edits and cancellations, the name of the group and of its members.
//
// Start with New and Apply; ask with List and Get; write with NewNotice,
// NewEdit and NewCancel. What is promised: the answer depends on the set of
// items and on now, never on the order of arrival or on duplicates; a cancelled
// notice stays cancelled; what a cut-off author wrote is never shown; a bad
// item is one error and changes nothing. Spec 50 has the rules.
//
// The caller stores the items, applies them again at start and again when its
// judgement of one changes, and shreds what Expire names. Order-freedom holds
// below the bounds on what waits (spec 50 section 2): above them Apply says
// ErrFull, and the item can be offered again.
//
// BUG: texts of superseded versions stay until their notice expires, because
// later versions name them. BUG: scripts whose spelling needs a zero-width
// joiner in names (Sinhala, some Indic) must write names without it. BUG: an
// organiser can jump to the last version number of the group's name.
package feed
