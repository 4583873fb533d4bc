package ferry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// minPrefix is how many digits of a ticket's key name it at least.
const minPrefix = 6

// ErrTicket says that a beginning of a key does not name one ticket: it is too short,
// or none begins so, or more than one does.
var ErrTicket = errors.New("ferry: this does not name one ticket")

// NewTicket makes a ticket count and returns its seed, which is the only copy: the
// store has the public half. Like EndTicket and Tickets it is for a ferry that does
// not serve. An error is the store's.
func (f *Ferry) NewTicket() (seed [32]byte, err error) {
	rand.Read(seed[:])
	if err := f.store.GiveTicket(rules.TicketOf(seed)); err != nil {
		return [32]byte{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return seed, nil
}

// Tickets lists the tickets that count, ascending. An error is the store's.
func (f *Ferry) Tickets() ([]rules.TicketKey, error) { return f.store.Tickets() }

// EndTicket ends the ticket whose key begins with these hexadecimal digits, 6 at least,
// and returns the key. What came with it stays. Errors: ErrTicket, or the store's.
func (f *Ferry) EndTicket(prefix string) (rules.TicketKey, error) {
	list, err := f.store.Tickets()
	if err != nil {
		return rules.TicketKey{}, err
	}
	var found []rules.TicketKey
	for _, k := range list {
		if strings.HasPrefix(hex.EncodeToString(k[:]), strings.ToLower(prefix)) {
			found = append(found, k)
		}
	}
	if len(prefix) < minPrefix || len(found) != 1 {
		return rules.TicketKey{}, ErrTicket
	}
	if err := f.store.TakeBack(found[0]); err != nil {
		return rules.TicketKey{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return found[0], nil
}
