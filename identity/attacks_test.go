package identity

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
)

// labels reads all labels from their table, so that a new one is in the tests
// from the start.
func labels(t *testing.T) (list []label.Label) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "label/labels.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if s, ok := v.Values[0].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(s.Value)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, label.Label(text))
			}
		}
		return true
	})
	return list
}

// Row 23 of spec 95: what was signed as one thing holds as no other, for every
// pair of labels, kinds that have no meaning yet among them, and for both kinds
// of key.
func TestSignatureOfOneKindIsNoOther(t *testing.T) {
	list := append(labels(t), label.Frame(16), label.Frame(17), label.Frame(255))
	if len(list) < 60 {
		t.Fatalf("%d labels were read", len(list))
	}
	member, device := MemberKeyFromSeed([32]byte{1}), DeviceKeyFromSeed([32]byte{2})
	x := []byte("the same bytes each time")
	held := 0
	for _, signed := range list {
		m, d := member.Sign(signed, x), device.Sign(signed, x)
		for _, shown := range list {
			okM, okD := member.Public().Verify(shown, x, m), device.Public().Verify(shown, x, d)
			if same := signed == shown; okM != same || okD != same {
				t.Errorf("signed as %q, shown as %q: member %t, device %t", signed, shown, okM, okD)
			}
			if okM && okD {
				held++
			}
		}
		if member.Public().Verify(signed, x, d) || device.Public().Verify(signed, x, m) {
			t.Errorf("%q: one key's signature holds for another's", signed)
		}
	}
	if held != len(list) {
		t.Errorf("%d of %d true signatures held", held, len(list))
	}
}
