package identity

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRecoveryPaperReadsBack(t *testing.T) {
	for _, seed := range [][SeedSize]byte{{}, {0: 1}, {31: 1}, {0: 255, 15: 7, 31: 255}} {
		k := RecoveryKeyFromSeed(seed)
		paper := k.Paper()
		if n := len(strings.Fields(paper)); n != RecoveryWords {
			t.Fatalf("%d words", n)
		}
		back, err := ParsePaper(" " + strings.ToUpper(strings.ReplaceAll(paper, " ", " \n ")) + "\n")
		if err != nil || back.Public() != k.Public() {
			t.Fatalf("the paper does not read back: %v", err)
		}
	}
}

func TestRecoveryPaperRefusesSlips(t *testing.T) {
	k := RecoveryKeyFromSeed([SeedSize]byte{1, 2, 3})
	words := strings.Fields(k.Paper())
	accepted := 0
	for i := range words {
		for _, other := range []string{"abacus", "zoom", "notaword"} {
			slip := slices.Clone(words)
			slip[i] = other
			back, err := ParsePaper(strings.Join(slip, " "))
			switch {
			case err == nil && back.Public() == k.Public() && other != words[i]:
				t.Fatalf("word %d does not count", i)
			case err == nil:
				accepted++
			case !errors.Is(err, ErrRecoveryWords):
				t.Fatal(err)
			}
		}
	}
	if accepted > 3 { // one in 256 passes the checksum
		t.Fatalf("%d of %d slips passed", accepted, 3*len(words))
	}
	for _, text := range []string{"", strings.Join(words[1:], " "), strings.Join(append(words, "abacus"), " "),
		strings.Repeat("zoom ", RecoveryWords), strings.Repeat("a ", 2000)} {
		if _, err := ParsePaper(text); !errors.Is(err, ErrRecoveryWords) {
			t.Errorf("%.20q was read: %v", text, err)
		}
	}
}

func TestRecoveryVoteIsForOneDecision(t *testing.T) {
	k := RecoveryKeyFromSeed([SeedSize]byte{9})
	sig := k.Vote([32]byte{1})
	if !k.Public().Voted([32]byte{1}, sig) {
		t.Error("the vote does not count")
	}
	if k.Public().Voted([32]byte{2}, sig) || RecoveryKeyFromSeed([SeedSize]byte{8}).Public().Voted([32]byte{1}, sig) {
		t.Error("the vote counts elsewhere")
	}
	if (RecoveryPublic{}).Voted([32]byte{1}, sig) {
		t.Error("no paper voted")
	}
}
