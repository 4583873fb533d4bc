package node_test

import (
	"slices"
	"strings"
	"testing"
)

// TestPlantedViolations: each ban finds what it is there for.
func TestPlantedViolations(t *testing.T) {
	type plant struct{ dir, imports, body, want string }
	plants := []plant{
		{"protocol/epoch", `"` + module + `/protocol/group"`, "", "import " + module + "/protocol/group"},
		{"protocol", `"` + module + `/protocol/engine"`, "", "import " + module + "/protocol/engine"},
		{"identity/label", `"` + module + `/protocol/wire"`, "", "import " + module + "/protocol/wire"},
		{"node/store", `"` + module + `/node"`, "", "import " + module + "/node"},
		{"node/api", `"` + module + `/node/store"`, "", "import " + module + "/node/store"},
		{"node", `"` + module + `/cmd/palabre"`, "", "import " + module + "/cmd/palabre"},
		{"node", `"` + module + `/node/extra"`, "", "import " + module + "/node/extra"},
		{"node/extra", "", "", "package in no layer"},
		{"node", `"github.com/libp2p/go-libp2p"`, "", "import github.com/libp2p/go-libp2p"},
		{"protocol/recon", `"github.com/libp2p/go-libp2p/core/peer"`, "", "import github.com/libp2p/go-libp2p/core/peer"},
		{"node/api", `"github.com/multiformats/go-multiaddr"`, "", "import github.com/multiformats/go-multiaddr"},
		{"node/store", `"C"`, "", "import C"},
		{"protocol", `. "strings"`, "", "import . strings"},
		{"protocol/feed", "", "func f() { go g() }", "go statement"},
		{"protocol/feed", "", "var c chan int", "channel"},
		{"protocol/feed", "", "func f() { c <- 1 }", "channel"},
		{"protocol/feed", "", "func f() int { return <-c }", "channel"},
		{"protocol/feed", "", "func f() { select {} }", "select"},
		{"protocol/feed", "", `func f() { println("x") }`, "println"},
		{"protocol/feed", "", "func f() { print(1) }", "print"},
		{"identity", `"crypto/ed25519"`, "func f() { ed25519.GenerateKey(nil) }", "GenerateKey"},
		{"protocol/epoch", `"crypto/mlkem"`, "func f() { mlkem.GenerateKey768() }", "GenerateKey768"},
		{"protocol/epoch", "", "func f() { kem.GenerateKey() }", "GenerateKey"},
		{"protocol/group", `"crypto/hpke"`, "func f() { hpke.Seal(nil, nil, nil, nil, nil) }", "hpke.Seal"},
		{"protocol/epoch", `"crypto/hpke"`, "func f() { hpke.NewSender(nil, nil, nil, nil) }", "hpke.NewSender"},
		{"protocol/engine", `clock "time"`, "func f() { clock.Now() }", "time.Now"},
		{"identity", `"log/slog"`, `func f() { slog.Info("x") }`, "slog.Info"},
		{"protocol", `"math/rand/v2"`, "func f() { rand.IntN(3) }", "v2.IntN"},
		{"protocol", `"path/filepath"`, `func f() { filepath.Glob("*") }`, "filepath.Glob"},
		{"protocol", `"net/http"`, "", "import net/http"},
		{"protocol", `"os/exec"`, "", "import os/exec"},
		{"protocol", `"compress/gzip"`, "", "import compress/gzip"},
		{"protocol", `"database/sql"`, "", "import database/sql"},
	}
	for _, name := range []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "LoadLocation", "Local"} {
		plants = append(plants, plant{"protocol/engine", `"time"`, "var x = time." + name, "time." + name})
	}
	for name := range impureNames["fmt"] {
		plants = append(plants, plant{"protocol/engine", `"fmt"`, "var x = fmt." + name, "fmt." + name})
	}
	for imported := range impureImports {
		imported = strings.TrimSuffix(imported, "/") + map[bool]string{true: "/x"}[strings.HasSuffix(imported, "/")]
		plants = append(plants, plant{"protocol/engine", `"` + imported + `"`, "", "import " + imported})
	}
	for _, imported := range []string{"testing", "testing/quick", "pgregory.net/rapid", "go.uber.org/goleak"} {
		plants = append(plants, plant{"node/store", `"` + imported + `"`, "", "import " + imported})
	}
	for _, p := range plants {
		text := "package p\n"
		if p.imports != "" {
			text += "import " + p.imports + "\n"
		}
		s, err := parse(p.dir, "planted.go", text+p.body+"\n")
		if err != nil {
			t.Fatalf("%s: %v", p.want, err)
		}
		found := s.check()
		if !slices.ContainsFunc(found, func(f finding) bool { return f.what == p.want && f.why != "" }) {
			t.Errorf("%s in %s: planted, found %v", p.want, p.dir, found)
		}
	}
}

// TestAllowed: what is near a ban and is none.
func TestAllowed(t *testing.T) {
	for _, p := range []struct{ dir, imports, body string }{
		{"protocol/engine", `"` + module + `/protocol/epoch"`, ""},
		{"protocol/engine", `"time"`, "var x = time.Unix(0, 0).UTC().Format(time.RFC3339); var d time.Duration"},
		{"protocol/engine", "", "type t struct{ Now int }; var time t; var x = time.Now"},
		{"protocol/engine", `"time"`, "func f() int { time := struct{ Now int }{}; return time.Now }"},
		{"identity", `"log/slog"`, `func f() slog.Value { return slog.StringValue("x") }`},
		{"protocol/feed", `"net/url"`, ""},
		{"protocol/epoch", `"crypto/hpke"`, "func f() { hpke.Seal(nil, nil, nil, nil, nil) }"},
		{"protocol/recon", `"math/rand/v2"`, "var x = rand.New(rand.NewPCG(1, 2))"},
		{"node/p2p", `"github.com/libp2p/go-libp2p"`, ""},
		{"node", `"github.com/multiformats/go-multiaddr"`, ""},
		{"node/store", `"time"`, "var x = time.Now; func f() { go g() }"},
		{"protocol/engine/enginetest", `"testing"`, ""},
		{"cmd/palabre", `"` + module + `/node"`, ""},
	} {
		text := "package p\n"
		if p.imports != "" {
			text += "import " + p.imports + "\n"
		}
		s, err := parse(p.dir, "allowed.go", text+p.body+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if found := s.check(); len(found) != 0 {
			t.Errorf("%s in %s: %v", p.imports, p.dir, found)
		}
	}
}

func TestTopLevelComparison(t *testing.T) {
	if got := compareNames(topLevel); len(got) != 0 {
		t.Error(got)
	}
	if got := compareNames(append(slices.Clone(topLevel), "internal")); len(got) != 1 {
		t.Errorf("a name too many gives %q", got)
	}
	if got := compareNames(topLevel[1:]); len(got) != 1 {
		t.Errorf("a name too few gives %q", got)
	}
}
