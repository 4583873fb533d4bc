package ferry

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
)

func bundle(t testing.TB, parcels ...Parcel) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewBundleWriter(&out)
	for _, x := range parcels {
		must(t, w.Add(x))
	}
	must(t, w.Close())
	return out.Bytes()
}

// readBundle reads all of a bundle.
func readBundle(r io.Reader) (list []Parcel, err error) {
	b, err := NewBundleReader(r)
	for err == nil {
		var x Parcel
		if x, err = b.Next(); err == nil {
			list = append(list, x)
		}
	}
	if b != nil {
		if _, again := b.Next(); again != err {
			return nil, errors.New("the error is another one the second time")
		}
	}
	return list, err
}

// few are parcels of all kinds.
func few(t testing.TB) []Parcel {
	var list []Parcel
	for i, bucket := range []int{protocol.BucketSmall, protocol.BucketLarge, protocol.BucketMedium} {
		d := deposit(t, box(1, protocol.Day(i)), i, bucket)
		list = append(list, Parcel{Envelope: d.Envelope, Deposit: &d}, Parcel{Envelope: deposit(t, box(2, 7), i, bucket).Envelope})
	}
	return list
}

// encoded is a parcel as it lies in a bundle.
func encoded(x Parcel) []byte {
	if x.Deposit != nil {
		return x.Deposit.Marshal()
	}
	return x.Envelope
}

func TestBundleBringsWhatWasPutIn(t *testing.T) {
	list := few(t)
	for n := range len(list) + 1 {
		b := bundle(t, list[:n]...)
		got, err := readBundle(bytes.NewReader(b))
		if err != io.EOF || len(got) != n {
			t.Fatalf("%d of %d: %v", len(got), n, err)
		}
		for i, x := range got {
			if !bytes.Equal(encoded(x), encoded(list[i])) || !bytes.Equal(x.Envelope, list[i].Envelope) {
				t.Fatalf("parcel %d is another", i)
			}
		}
	}
}

// A stick that was pulled out too early brings what is on it.
func TestBundleThatWasCutOff(t *testing.T) {
	list := few(t)
	b := bundle(t, list...)
	ends := []int{1}
	for _, x := range list {
		ends = append(ends, ends[len(ends)-1]+4+len(encoded(x)))
	}
	for n := 0; n < len(b); n += 997 {
		got, err := readBundle(bytes.NewReader(b[:n]))
		want := 0
		for want < len(list) && n >= ends[want+1] {
			want++
		}
		if !errors.Is(err, ErrCutOff) || len(got) != want {
			t.Fatalf("cut at %d: %d of %d, %v", n, len(got), want, err)
		}
	}
}

func TestBundleThatWasDamaged(t *testing.T) {
	list := few(t)[4:5] // a deposit is signed; a bare envelope is told by who opens it
	good := bundle(t, list...)
	for n := 0; n < len(good); n += 101 {
		b := bytes.Clone(good)
		b[n] ^= 0x10
		got, err := readBundle(bytes.NewReader(b))
		if !errors.Is(err, ErrNotBundle) && !errors.Is(err, ErrCutOff) {
			t.Fatalf("byte %d: %v", n, err)
		}
		for i, x := range got {
			if !bytes.Equal(encoded(x), encoded(list[i])) {
				t.Fatalf("byte %d: parcel %d is another", n, i)
			}
		}
	}
	if _, err := readBundle(bytes.NewReader(append(good, 0))); !errors.Is(err, ErrNotBundle) {
		t.Errorf("one byte more: %v", err)
	}
	if _, err := readBundle(bytes.NewReader([]byte("%PDF-1.7 and so on, as a file that was taken for another"))); !errors.Is(err, ErrNotBundle) {
		t.Errorf("another file: %v", err)
	}
	if _, err := readBundle(bytes.NewReader(nil)); !errors.Is(err, ErrCutOff) {
		t.Errorf("an empty file: %v", err)
	}
}

// zeros is a file of zero bytes without an end, as a sparse one is.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.read += len(p)
	return len(p), nil
}

// Threats row 68: a huge file costs no more than it takes to see that it is none.
func TestHugeFileIsNoBundle(t *testing.T) {
	z := &zeros{}
	if _, err := readBundle(io.MultiReader(bytes.NewReader([]byte{1}), z)); !errors.Is(err, ErrNotBundle) || z.read > 200<<10 {
		t.Errorf("%d bytes were read: %v", z.read, err)
	}
	z = &zeros{}
	if _, err := readBundle(io.MultiReader(bytes.NewReader([]byte{1, 0xff, 0xff, 0xff, 0xff}), z)); !errors.Is(err, ErrNotBundle) || z.read > 200<<10 {
		t.Errorf("a record of 4 GiB: %d bytes were read: %v", z.read, err)
	}
}

// A size says little of how much is in it, and a fifth is padding at most.
func TestBundleSizes(t *testing.T) {
	if n := len(bundle(t)); n != minBundle {
		t.Fatalf("an empty bundle has %d bytes", n)
	}
	sizes := map[int64]bool{}
	last := int64(0)
	for n := int64(minBundle + 1); n < 4<<20; n += 911 {
		size := bundleSize(n)
		if size < n || size < last || (size-n)*5 > size {
			t.Fatalf("%d is padded to %d", n, size)
		}
		if bundleSize(size) != size {
			t.Fatalf("%d is padded to %d", size, bundleSize(size))
		}
		sizes[size], last = true, size
	}
	if len(sizes) != 24 {
		t.Errorf("%d sizes up to 4 MiB", len(sizes))
	}
}

func TestBundleIsWrittenOrAnErrorSaysSo(t *testing.T) {
	list := few(t)
	for _, room := range []int{0, 100, 50_000, minBundle, 100_000, len(bundle(t, list...)) - 1} {
		w := NewBundleWriter(&full{room: room})
		for _, x := range list {
			w.Add(x)
		}
		if w.Close() == nil {
			t.Errorf("a disk with room for %d bytes is not told", room)
		}
	}
	d := deposit(t, box(1, 7), 1, protocol.BucketSmall)
	for n := range 30 { // the last bytes may wait in memory
		list := slices.Repeat([]Parcel{{Envelope: d.Envelope, Deposit: &d}}, n)
		w := NewBundleWriter(&full{room: len(bundle(t, list...)) - 1})
		for _, x := range list {
			w.Add(x)
		}
		if w.Close() == nil {
			t.Errorf("that the last byte of %d parcels does not fit is not told", n)
		}
	}
}

type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errors.New("no space")
	}
	return len(p), nil
}
