package ferry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// What parses marshals to the same bytes, and is signed.
func FuzzDeposit(f *testing.F) {
	for _, x := range few(f) {
		f.Add(encoded(x))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDeposit(b)
		if err != nil {
			if !errors.Is(err, ErrClient) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(d.Marshal(), b) {
			t.Fatal("it encodes to other bytes")
		}
	})
}

// Bodies of both sides' messages.
func FuzzBodies(f *testing.F) {
	w := newWorld(f, DefaultLimits())
	c := w.begin("c")
	m := box(1, 7)
	f.Add(wire.Marshal([]Door{c.door(m, 3, true)}))
	f.Add(wire.Marshal(ShowTicket{}))
	f.Add(wire.Marshal([]KeptOne{{Outcome: FerryFull}}))
	f.Add(wire.Marshal(Hello{Version: 1}))
	f.Add(opened(9)[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(v any, err error) {
			if err == nil {
				if again := wire.Marshal(v); !bytes.Equal(again, b) {
					t.Fatalf("%x encodes to %x", b, again)
				}
			} else if !errors.Is(err, wire.ErrEncoding) {
				t.Fatal(err)
			}
		}
		doors, err := parseOpen(b)
		check(doors, err)
		shown, err := parseTicket(b)
		check(shown, err)
		kept, err := ParseKept(b)
		check(kept, err)
		hello, err := ParseHello(b)
		check(hello, err)
		if n, err := ParseOpened(b); err == nil && !bytes.Equal(opened(n)[1:], b) {
			t.Fatal("it encodes to other bytes")
		}
		if ids, err := ParsePrefixes(b); err == nil && len(ids)*PrefixSize != len(b) {
			t.Fatal("bytes are lost")
		}
	})
}

// A client may send anything: the session answers, or ends with its fault, and what
// the ferry holds is what it said to keep.
func FuzzSession(f *testing.F) {
	m := box(1, 7)
	d := deposit(f, m, 1, protocol.BucketSmall)
	record := func(msgs ...[]byte) (out []byte) {
		for _, m := range msgs {
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(m))), m...)
		}
		return out
	}
	c := newWorld(f, DefaultLimits()).begin("c") // the first session, as below
	open := OpenMessage([]Door{c.door(m, 0, false)})
	id := d.ID()
	f.Add(record(PutMessage(d), open, append([]byte{TypeRecon}, 0x61), WantMessage([]protocol.EnvelopeID{id}), []byte{TypeDone}))
	f.Add(record(open, append([]byte{TypeRecon}, 0x61, 0, 0, 2, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld(t, DefaultLimits())
		c := w.begin("c")
		said := int64(0)
		for len(b) >= 4 {
			n := int(binary.BigEndian.Uint32(b))
			if b = b[4:]; n > len(b) {
				break
			}
			answers, err := c.say(b[:n])
			for _, a := range answers {
				if len(a) > 73_728 {
					t.Fatalf("answer of %d bytes", len(a))
				}
				if a[0] == TypeKept {
					list, err := ParseKept(a[1:])
					if err != nil || list[0].Outcome == Kept && len(w.store.rows) == 0 {
						t.Fatalf("%v, and nothing is held", err)
					}
					said++
				}
			}
			if b = b[n:]; err != nil {
				break
			}
		}
		if total, _ := w.store.Total(); total > 0 && said == 0 {
			t.Fatal("something is held of which nothing was said")
		}
	})
}

// Of any file whatever is read is a deposit, and what is read and written again is
// read alike.
func FuzzBundle(f *testing.F) {
	f.Add(bundle(f))
	f.Add(bundle(f, few(f)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := readBundle(bytes.NewReader(b))
		if err == io.EOF {
			if !bytes.Equal(bundle(t, list...), b) {
				t.Fatal("it is written with other bytes")
			}
		} else if !errors.Is(err, ErrNotBundle) && !errors.Is(err, ErrCutOff) {
			t.Fatal(err)
		}
	})
}
