package mobile

import (
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

var words = []byte("six words for a phone in tests")

func TestOpenPostListClose(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, "Awa", words); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, []byte("other words")); api.CodeOf(err) != api.CodeWrongPassphrase {
		t.Fatalf("a wrong passphrase gave %v", err)
	}
	p, err := Open(dir, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Post("", "fr", "Bonjour", "Corps"); api.CodeOf(err) != api.CodeNoGroup {
		t.Fatalf("posting without a group gave %v", err)
	}
	if _, err := p.do(api.CommandGroupCreate, api.GroupCreateArgs{Name: "Voisins"}); err != nil {
		t.Fatal(err)
	}
	id, err := p.Post("", "fr", "Bonjour", "Corps")
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.List("")
	if err != nil || !strings.Contains(list, id) || !strings.Contains(list, "Bonjour") {
		t.Fatalf("the list lacks the notice: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.List(""); err == nil {
		t.Error("a closed profile answered")
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	var none Profile
	if _, err := none.List(""); err == nil {
		t.Error("a profile that was never opened answered")
	}
	if err := none.Close(); err == nil {
		t.Error("a profile that was never opened closed")
	}
}
