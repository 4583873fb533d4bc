package engine

// Table names one kind of record in a group's storage. Numbers are part of the
// disk format: never renumber, never reuse.
type Table uint8

// Record is one row: what the engine keeps under (Table, Key). Keys are at most
// MaxKeySize bytes and never secret; values are at most MaxValueSize bytes.
type Record struct {
	Table Table
	Key   []byte
	Value []byte
	// Shred is the first day (unix time / 86,400) on which the value must be
	// unreadable: it is sealed under a key of that day, and the key is destroyed
	// on time. 0 keeps the value until it is deleted.
	Shred uint32
}

// Ref names a row.
type Ref struct {
	Table Table
	Key   []byte
}

// Limits of a row.
const (
	MaxKeySize   = 128
	MaxValueSize = 1 << 20
)

// Batch is what one Ready asks to be made durable, all of it or none: first
// the deletes, then the puts (a put replaces), then the shredding.
type Batch struct {
	Deletes []Ref
	Puts    []Record
	// ShredBefore destroys every day key with a day at or below it, and the rows sealed
	// under them. 0 asks for nothing.
	ShredBefore uint32
}

// Empty says that the batch changes nothing.
func (b *Batch) Empty() bool {
	return len(b.Deletes) == 0 && len(b.Puts) == 0 && b.ShredBefore == 0
}

// Storage is what the engine reads: the rows of one group, as of the last
// Batch that was committed. Writes leave through Ready only.
type Storage interface {
	// Get returns the value of one row, or nil if there is none. The slice is
	// the caller's.
	Get(t Table, key []byte) ([]byte, error)
	// Scan calls f for each row of t whose key starts with prefix, in ascending
	// order of key, until f returns an error, which Scan returns. The slices are
	// valid during the call only.
	Scan(t Table, prefix []byte, f func(key, value []byte) error) error
	// Keys is Scan without the values, which are not read.
	Keys(t Table, prefix []byte, f func(key []byte) error) error
}
