package ferry

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/palabre-app/palabre/protocol"
)

// minBundle is the size of the smallest bundle in bytes.
const minBundle = 64 << 10

// Errors of reading a bundle.
var (
	// ErrNotBundle says that a file is no bundle, or was damaged.
	ErrNotBundle = errors.New("not a bundle, or damaged")
	// ErrCutOff says that the file ends too early; what was read before is good.
	ErrCutOff = errors.New("the bundle was cut off")
)

// BundleWriter writes a bundle (spec 75 section 7).
type BundleWriter struct {
	w    *bufio.Writer
	size int64
	err  error
}

// NewBundleWriter begins a bundle. Nothing is complete before Close.
func NewBundleWriter(w io.Writer) *BundleWriter {
	b := &BundleWriter{w: bufio.NewWriter(w)}
	b.write([]byte{protocol.Version})
	return b
}

func (b *BundleWriter) write(p []byte) {
	if b.err == nil {
		_, b.err = b.w.Write(p)
		b.size += int64(len(p))
	}
}

// Parcel is what a bundle carries: an envelope and, if whoever wrote the bundle could
// sign for its mailbox or had the signature, the whole deposit. Without it members
// alone can use it.
type Parcel struct {
	Envelope []byte
	Deposit  *Deposit
}

// Add adds a parcel. What comes first is read first, also from a file that is cut
// off.
func (b *BundleWriter) Add(x Parcel) error {
	p := x.Envelope
	if x.Deposit != nil {
		p = x.Deposit.Marshal()
	}
	b.write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
	b.write(p)
	return b.err
}

// Close writes the end and the padding. It does not close what it writes to.
func (b *BundleWriter) Close() error {
	b.write(make([]byte, 4))
	zero := make([]byte, 32<<10)
	for to := bundleSize(b.size); b.err == nil && b.size < to; {
		b.write(zero[:min(int64(len(zero)), to-b.size)])
	}
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.err
}

// bundleSize is the size to which a bundle of n bytes is padded.
func bundleSize(n int64) int64 {
	if n <= minBundle {
		return minBundle
	}
	step := int64(1) << (bits.Len64(uint64(n-1)) - 3)
	return (n + step - 1) / step * step
}

// BundleReader reads a bundle, one parcel at a time.
type BundleReader struct {
	r    *bufio.Reader
	size int64
	err  error
}

// NewBundleReader reads from r, and looks at the version byte. The error wraps
// ErrNotBundle, ErrCutOff or is of r.
func NewBundleReader(r io.Reader) (*BundleReader, error) {
	b := &BundleReader{r: bufio.NewReader(r)}
	var version [1]byte
	if b.read(version[:]) && version[0] != protocol.Version {
		b.err = ErrNotBundle
	}
	return b, b.err
}

func (b *BundleReader) read(p []byte) bool {
	n, err := io.ReadFull(b.r, p)
	b.size += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrCutOff
	}
	b.err = err
	return err == nil
}

// Next returns the next parcel, checked, and io.EOF after the last one of a whole
// bundle. After any error it returns the same error again; what came before it
// stands.
func (b *BundleReader) Next() (Parcel, error) {
	if b.err != nil {
		return Parcel{}, b.err
	}
	var head [4]byte
	if !b.read(head[:]) {
		return Parcel{}, b.err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 {
		b.end()
		return Parcel{}, b.err
	}
	if n > MaxDeposit {
		b.err = ErrNotBundle
		return Parcel{}, b.err
	}
	p := make([]byte, n)
	if !b.read(p) {
		return Parcel{}, b.err
	}
	x, err := parseParcel(p)
	if err != nil {
		b.err = fmt.Errorf("%w: %w", ErrNotBundle, err)
	}
	return x, b.err
}

// parseParcel tells by the length which of the two it is: a deposit is never as long
// as an envelope.
func parseParcel(p []byte) (Parcel, error) {
	switch len(p) {
	case protocol.BucketSmall, protocol.BucketMedium, protocol.BucketLarge:
		_, err := protocol.ParseEnvelope(p)
		return Parcel{Envelope: p}, err
	}
	d, err := ParseDeposit(p)
	return Parcel{Envelope: d.Envelope, Deposit: &d}, err
}

// end reads the padding: as long as it must be, zero, and nothing behind it.
func (b *BundleReader) end() {
	zero := make([]byte, 32<<10)
	for to := bundleSize(b.size); b.size < to; {
		p := zero[:min(int64(len(zero)), to-b.size)]
		if !b.read(p) {
			return
		}
		for _, c := range p {
			if c != 0 {
				b.err = ErrNotBundle
				return
			}
		}
	}
	if _, err := b.r.ReadByte(); err == nil {
		b.err = ErrNotBundle
	} else {
		b.err = err // io.EOF
	}
}
