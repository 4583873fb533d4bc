package epoch

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// A secret in an unexported field of another struct must not print either:
// package fmt does not ask the type there.
func TestSecretsDoNotPrintFromInsideOtherTypes(t *testing.T) {
	seed := [32]byte{0xde, 0xad, 0xbe, 0xef, 0x11, 0x22}
	type holder struct {
		kem  KEMPrivate
		net  NetKey
		mail MailKey
	}
	h := holder{KEMPrivateFromSeed(seed), NetKeyFromBytes(seed), MailKeyFromSeed(seed)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s"} {
		s := fmt.Sprintf(verb, h)
		for _, leak := range []string{hex.EncodeToString(seed[:4]), "222 173 190 239", "0xde, 0xad"} {
			if strings.Contains(s, leak) {
				t.Errorf("%s prints the secret: %s", verb, s)
			}
		}
	}
}
