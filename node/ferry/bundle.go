package ferry

import (
	"errors"
	"io"

	"github.com/palabre-app/palabre/protocol/ferry"
)

// Imported says what became of the parcels of a bundle.
type Imported struct {
	Kept    int // held now, also those that were held before
	NoRoom  int // their mailbox or the ferry is full
	Members int // without a signature for their mailbox: for members' phones alone
}

// maxImport is how many bytes of a bundle are made durable together.
const maxImport = 4 << 20

// Import takes in a bundle that somebody brought to whoever runs the ferry. It has no
// share of its own: the bounds of a mailbox and of the ferry hold. With an error, those
// of ferry.BundleReader, what was read before it stands; one that wraps ErrBroken is
// the store's.
func (s *Server) Import(r io.Reader) (all Imported, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return all, s.broken
	}
	b, err := ferry.NewBundleReader(r)
	if err != nil {
		return all, err
	}
	sum := Imported{} // of what is not durable yet
	size := 0
	settle := func() error {
		if err := s.commit(); err != nil {
			return err
		}
		all.Kept, all.NoRoom, all.Members = all.Kept+sum.Kept, all.NoRoom+sum.NoRoom, all.Members+sum.Members
		sum, size = Imported{}, 0
		return nil
	}
	for {
		p, err := b.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, errors.Join(settle(), err)
		}
		if p.Deposit == nil {
			sum.Members++
			continue
		}
		outcome, err := s.carrier.Keep(s.now().Unix(), *p.Deposit, ferry.From{})
		if err != nil {
			return all, s.fail(err)
		}
		if outcome == ferry.Kept {
			sum.Kept++
		} else {
			sum.NoRoom++
		}
		if size += len(p.Envelope); size >= maxImport {
			if err := settle(); err != nil {
				return all, err
			}
		}
	}
}
