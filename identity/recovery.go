package identity

import (
	"crypto/ed25519"
	"errors"
	"io"
	"math/big"
	"strings"

	"github.com/palabre-app/palabre/identity/label"
)

// RecoveryWords is how many words the recovery paper has: 32 bytes of key and
// one of checksum, as a number in base 7,776.
const RecoveryWords = 21

// ErrRecoveryWords says that what was typed is no recovery paper.
var ErrRecoveryWords = errors.New("these are not the 21 words of a recovery paper")

// RecoveryPublic is the public half of a recovery key; zero is none.
type RecoveryPublic [ed25519.PublicKeySize]byte

// RecoveryKey is the key that a group of two keeps on paper, with somebody who
// does not organise (spec 40 section 6.1).
type RecoveryKey struct{ private }

// NewRecoveryKey makes a key from 32 bytes of random.
func NewRecoveryKey(random io.Reader) (RecoveryKey, error) {
	s, err := drawSecret(random)
	return RecoveryKey{private{s}}, err
}

// RecoveryKeyFromSeed restores a key from the bytes that Seed gave.
func RecoveryKeyFromSeed(seed [SeedSize]byte) RecoveryKey {
	return RecoveryKey{private{newSecret(seed)}}
}

// Public returns the public half.
func (k RecoveryKey) Public() RecoveryPublic { return RecoveryPublic(k.public()) }

// Vote signs a decision by its id.
func (k RecoveryKey) Vote(decision [32]byte) Signature { return k.Sign(label.Recovery, decision[:]) }

// Voted says whether sig is the paper's vote for the decision.
func (k RecoveryPublic) Voted(decision [32]byte, sig Signature) bool {
	return k != RecoveryPublic{} && ed25519.Verify(k[:], label.Transcript(label.Recovery, decision[:]), sig[:])
}

// Paper returns the words to write down, separated by spaces. They are the key:
// whoever reads them has the paper's voice.
func (k RecoveryKey) Paper() string {
	seed := k.Seed()
	n, base, digit := new(big.Int).SetBytes(append(seed[:], paperSum(seed))), big.NewInt(listSize), new(big.Int)
	words := make([]string, RecoveryWords)
	for i := RecoveryWords - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		words[i] = wordAt(int(digit.Int64()))
	}
	return strings.Join(words, " ")
}

// ParsePaper reads the words in any case, separated by any white space.
func ParsePaper(text string) (RecoveryKey, error) {
	if len(text) > 1024 {
		return RecoveryKey{}, ErrRecoveryWords
	}
	words := strings.Fields(strings.ToLower(text))
	if len(words) != RecoveryWords {
		return RecoveryKey{}, ErrRecoveryWords
	}
	numbers := make(map[string]int64, listSize)
	for n := range listSize {
		numbers[wordAt(n)] = int64(n)
	}
	n, base := new(big.Int), big.NewInt(listSize)
	for _, w := range words {
		digit, ok := numbers[w]
		if !ok {
			return RecoveryKey{}, ErrRecoveryWords
		}
		n.Add(n.Mul(n, base), big.NewInt(digit))
	}
	if n.BitLen() > 8*(SeedSize+1) {
		return RecoveryKey{}, ErrRecoveryWords
	}
	var b [SeedSize + 1]byte
	n.FillBytes(b[:])
	seed := [SeedSize]byte(b[:SeedSize])
	if b[SeedSize] != paperSum(seed) {
		return RecoveryKey{}, ErrRecoveryWords
	}
	return RecoveryKeyFromSeed(seed), nil
}

// paperSum is a checksum that tells a slip of the pen, 255 of 256 times.
func paperSum(seed [SeedSize]byte) byte { return label.Ref(label.Recovery, seed[:])[0] }
