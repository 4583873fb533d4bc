package recon

import (
	"errors"
	"fmt"
	"math"
)

// maxVarint is the length in bytes of the longest varint of 64 bits.
const maxVarint = 10

var errShort = errors.New("message ends early")

// Parse reads a message of at most MaxMessage bytes. It accepts the one form
// that Append writes (spec 70 section 4); each error wraps ErrPeer. The result
// shares nothing with b.
func Parse(b []byte) (Message, error) {
	m, err := parse(b)
	if err != nil {
		return Message{}, peerError("%w", err)
	}
	return m, nil
}

func parse(b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return Message{}, fmt.Errorf("%d bytes are too long", len(b))
	}
	if len(b) == 0 {
		return Message{}, errShort
	}
	if b[0] != Version {
		return Message{}, fmt.Errorf("version byte %#02x is unknown", b[0])
	}
	var m Message
	var rules sequence
	d := decoder{b: b[1:]}
	for len(d.b) > 0 {
		r, err := d.next()
		if err == nil {
			err = rules.accept(&r)
		}
		if err != nil {
			return Message{}, fmt.Errorf("range %d: %w", len(m.Ranges), err)
		}
		m.Ranges = append(m.Ranges, r)
	}
	return m, rules.end()
}

// decoder reads ranges from b. What is true of a range by itself or by its
// place in the message is left to sequence.
type decoder struct {
	b    []byte
	time uint64 // of the bound before
}

func (d *decoder) next() (Range, error) {
	var r Range
	delta, err := d.varint()
	if err != nil {
		return r, err
	}
	switch {
	case delta == 0:
		r.Upper.Time = math.MaxUint64
	case delta-1 > MaxTime-d.time:
		return r, errors.New("bound is beyond the largest time")
	default:
		r.Upper.Time = d.time + delta - 1
	}
	d.time = min(r.Upper.Time, MaxTime) // nothing may follow infinity; sequence sees to it
	n, err := d.varint()
	if err != nil {
		return r, err
	}
	if n > IDSize {
		return r, errors.New("id prefix is too long")
	}
	prefix, err := d.take(int(n))
	if err != nil {
		return r, err
	}
	r.Upper.Len = copy(r.Upper.Prefix[:], prefix)
	mode, err := d.varint()
	if err != nil {
		return r, err
	}
	if mode > uint64(IDList) {
		return r, fmt.Errorf("mode %d is unknown", mode)
	}
	r.Mode = Mode(mode)
	switch r.Mode {
	case Fingerprint:
		f, err := d.take(FingerprintSize)
		if err != nil {
			return r, err
		}
		r.Fingerprint = [FingerprintSize]byte(f)
	case IDList:
		r.IDs, err = d.ids()
	}
	return r, err
}

func (d *decoder) ids() ([]ID, error) {
	n, err := d.varint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(d.b)/IDSize) {
		return nil, errShort
	}
	ids := make([]ID, n)
	for i := range ids {
		copy(ids[i][:], d.b[i*IDSize:])
	}
	d.b = d.b[int(n)*IDSize:]
	return ids, nil
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.b) {
		return nil, errShort
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken, nil
}

func (d *decoder) varint() (uint64, error) {
	var v uint64
	for i, x := range d.b {
		if i == 0 && x == 0x80 {
			return 0, errors.New("varint has a leading zero")
		}
		if v > math.MaxUint64>>7 {
			return 0, errors.New("varint is over 64 bits")
		}
		v = v<<7 | uint64(x&0x7f)
		if x < 0x80 {
			d.b = d.b[i+1:]
			return v, nil
		}
	}
	return 0, errShort
}

// Append writes the message behind dst. It fails, and returns dst as it was, if
// Parse would refuse the result.
func (m Message) Append(dst []byte) ([]byte, error) {
	e := newEncoder()
	for i := range m.Ranges {
		if err := e.add(&m.Ranges[i]); err != nil {
			return dst, fmt.Errorf("range %d: %w", i, err)
		}
	}
	if err := e.rules.end(); err != nil {
		return dst, err
	}
	if len(e.b) > MaxMessage {
		return dst, fmt.Errorf("%d bytes are too long", len(e.b))
	}
	return append(dst, e.b...), nil
}

// encoder writes ranges behind b. A copy of an encoder, put back, undoes what was
// added since.
type encoder struct {
	b     []byte
	rules sequence
}

func newEncoder() encoder { return encoder{b: []byte{Version}} }

func (e *encoder) add(r *Range) error {
	before := e.rules.last.Time
	if err := e.rules.accept(r); err != nil {
		return err
	}
	if r.Upper.Time == math.MaxUint64 {
		e.b = append(e.b, 0)
	} else {
		e.b = appendVarint(e.b, r.Upper.Time-before+1)
	}
	e.b = appendVarint(e.b, uint64(r.Upper.Len))
	e.b = append(e.b, r.Upper.Prefix[:r.Upper.Len]...)
	e.b = append(e.b, byte(r.Mode))
	switch r.Mode {
	case Fingerprint:
		e.b = append(e.b, r.Fingerprint[:]...)
	case IDList:
		e.b = appendVarint(e.b, uint64(len(r.IDs)))
		for i := range r.IDs {
			e.b = append(e.b, r.IDs[i][:]...)
		}
	}
	return nil
}

// appendVarint writes v in base 128, most significant digit first.
func appendVarint(dst []byte, v uint64) []byte {
	var digits [maxVarint]byte
	i := maxVarint - 1
	digits[i] = byte(v & 0x7f)
	for v >>= 7; v > 0; v >>= 7 {
		i--
		digits[i] = byte(v&0x7f) | 0x80
	}
	return append(dst, digits[i:]...)
}
