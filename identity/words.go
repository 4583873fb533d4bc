package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/sethvargo/go-diceware/diceware"

	"github.com/palabre-app/palabre/identity/label"
)

// Words of the EFF large list: 7,776, so that six carry 77 bits (spec 85 section 4).
const (
	WordCount = 6
	listSize  = 7_776
	maxDraws  = 64
)

// SafetyWords returns the six words that two people compare to know that a
// member's key in a group is the same for both (spec 85 section 4). The 32 bytes
// of Ref("Words", group || member key) are one big-endian number; its last six
// digits in base 7,776, the most significant first, number the words in the order
// of the list, from 0.
func SafetyWords(group [32]byte, member MemberPublic) [WordCount]string {
	ref := label.Ref(label.Words, append(group[:], member[:]...))
	n, base, digit := new(big.Int).SetBytes(ref[:]), big.NewInt(listSize), new(big.Int)
	var words [WordCount]string
	for i := WordCount - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		words[i] = wordAt(int(digit.Int64()))
	}
	return words
}

// NewPassphrase draws six words and joins them with spaces. Each word is drawn on
// its own, so one may come twice: refusing that would only help who guesses.
func NewPassphrase(random io.Reader) (string, error) {
	words := make([]string, WordCount)
	for i := range words {
		n, err := drawWord(random)
		if err != nil {
			return "", fmt.Errorf("drawing a passphrase: %w", err)
		}
		words[i] = wordAt(n)
	}
	return strings.Join(words, " "), nil
}

// drawWord reads 13 bits at a time until they are below the size of the list,
// so that each word is as likely as any other. A source that fails so often is
// broken: one try fails once in 19.
func drawWord(random io.Reader) (int, error) {
	for range maxDraws {
		var b [2]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, err
		}
		if n := int(binary.BigEndian.Uint16(b[:]) & (1<<13 - 1)); n < listSize {
			return n, nil
		}
	}
	return 0, errors.New("the source of randomness repeats itself")
}

// wordAt returns word n of the list. The list counts in throws of five dice:
// the digits of n in base 6, each plus one.
func wordAt(n int) string {
	throws := 0
	for i, unit := 0, 1; i < 5; i, unit = i+1, unit*10 {
		throws += (n%6 + 1) * unit
		n /= 6
	}
	return diceware.WordListEffLarge().WordAt(throws)
}
