package node_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/palabre-app/palabre"

// layers is the house: a package imports only packages of a lower number. A
// package that is in no row has no place yet, and fails the test.
var layers = map[string]int{
	"identity/label": 0, "protocol/wire": 0,
	"identity":       1,
	"protocol":       2,
	"protocol/epoch": 3, "protocol/group": 3, "protocol/feed": 3, "protocol/recon": 3, "protocol/ferry": 3,
	"protocol/engine":            4,
	"protocol/engine/enginetest": 5, "node/store": 5, "node/p2p": 5, "node/lan": 5, "node/api": 5, "node/web": 5, "node/text": 5,
	"node": 6, "node/ferry": 6,
	"mobile": 7, "cmd/palabre": 7, "cmd/palabre-sim": 7,
}

// pureBelow is the first layer that may know of the world. Below it all is a
// function of its arguments, so that a run replays by its seed.
const pureBelow = 5

// topLevel is all that lies at the root of the repository.
var topLevel = []string{".ci", ".gitignore", "README.md", "cmd", "go.mod", "go.sum", "identity", "mobile", "node", "protocol"}

// impureImports are banned in the pure layers. A name that ends in / stands for
// all that begins with it.
var impureImports = map[string]string{
	"os": "files and the environment belong to node", "os/": "files and processes belong to node",
	"io/ioutil": "files belong to node", "embed": "files belong to node",
	"net": "sockets belong to node/p2p", "net/": "sockets belong to node/p2p",
	"log": "the core returns events, the shell logs them", "log/syslog": "the core returns events, the shell logs them",
	"crypto/rand": "chance enters as an argument", "math/rand": "its functions share one hidden source",
	"sync": "one goroutine owns the engine", "sync/": "one goroutine owns the engine",
	"context": "the core never waits", "database/": "the store is behind an interface", "runtime": "no answer may depend on the machine",
	"runtime/": "no answer may depend on the machine", "unsafe": "a mistake would be memory corruption", "syscall": "the system belongs to node",
	"plugin": "code is linked, not loaded", "golang.org/x/sys/": "the system belongs to node", "golang.org/x/sync/": "one goroutine owns the engine",
	"compress/": "the length of what is sealed would show what is in it", "archive/": "it compresses",
}

// pureImports are the exceptions to impureImports.
var pureImports = map[string]string{
	"net/url":   "a parser of text, it opens nothing",
	"net/netip": "values and a parser of text, it opens nothing",
}

// impureNames are banned in the pure layers though their packages are not: import
// path, then name. "*" stands for every name but those of allowedNames.
var impureNames = map[string]map[string]string{
	"time": {
		"Now": noClock, "Since": noClock, "Until": noClock, "Local": "the zone of the machine", "LoadLocation": "it reads files",
		"Sleep": noTimer, "After": noTimer, "AfterFunc": noTimer, "Tick": noTimer, "NewTimer": noTimer, "NewTicker": noTimer,
	},
	"log/slog":      {"*": "the core returns events, the shell logs them"},
	"math/rand/v2":  {"*": "its functions share one hidden source"},
	"fmt":           {"Print": noOutput, "Printf": noOutput, "Println": noOutput, "Scan": noOutput, "Scanf": noOutput, "Scanln": noOutput},
	"crypto/hpke":   {"Seal": hidden, "NewSender": hidden},
	"path/filepath": {"*": "files belong to node"},
}

const (
	noClock  = "time enters as an argument"
	noTimer  = "a timer is an output and its firing an input"
	noOutput = "the core has no terminal"
	hidden   = "it draws from the standard library's hidden source"
)

var allowedNames = map[string][]string{
	"log/slog":     {"Value", "StringValue"}, // for LogValue
	"math/rand/v2": {"New", "NewChaCha8", "NewPCG", "Rand", "Source", "ChaCha8", "PCG"},
}

// exceptions are findings that stay: folder, then what.
var exceptions = map[string]map[string]string{
	"protocol/epoch": {
		"hpke.Seal": "it takes no reader: the one source of chance that is not an argument; tests that must replay fix it with testing/cryptotest",
	},
}

// testOnly may be imported by tests and by enginetest.
var testOnly = []string{"testing", "testing/", "pgregory.net/rapid", "go.uber.org/goleak", "github.com/nbd-wtf/go-nostr", "github.com/nbd-wtf/go-nostr/", "github.com/rogpeppe/go-internal/"}

// source is one file that is not a test.
type source struct {
	dir  string // from the root, with slashes
	file *ast.File
	at   *token.FileSet
}

// finding is one broken rule: where, what and why it is one.
type finding struct{ where, what, why string }

func (f finding) String() string { return f.where + ": " + f.what + ": " + f.why }

// check returns what breaks the rules in one file.
func (s source) check() (found []finding) {
	report := func(pos token.Pos, what, why string) {
		if exceptions[s.dir][what] == "" {
			found = append(found, finding{s.dir + "/" + s.at.Position(pos).String(), what, why})
		}
	}
	layer, placed := layers[s.dir]
	if !placed {
		report(s.file.Package, "package in no layer", "every package has a row in the table of layers")
		return found
	}
	pure := layer < pureBelow
	names := map[string]string{} // local name to import path
	for _, spec := range s.file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		for _, why := range importBans(s.dir, layer, imported) {
			report(spec.Pos(), "import "+imported, why)
		}
		local := path.Base(strings.TrimSuffix(imported, "/v2"))
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." && pure {
			report(spec.Pos(), "import . "+imported, "it hides where names come from")
		}
		names[local] = imported
	}
	if !pure {
		return found
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n.Pos(), "go statement", "one goroutine owns the engine")
		case *ast.ChanType:
			report(n.Pos(), "channel", "the core never waits")
		case *ast.SendStmt:
			report(n.Pos(), "channel", "the core never waits")
		case *ast.SelectStmt:
			report(n.Pos(), "select", "the core never waits")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				report(n.Pos(), "channel", "the core never waits")
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
				report(n.Pos(), f.Name, noOutput)
			}
		case *ast.SelectorExpr:
			if strings.HasPrefix(n.Sel.Name, "GenerateKey") {
				report(n.Pos(), n.Sel.Name, "many of these use a hidden source; keys are made from bytes that enter as an argument")
			}
			// A package's name is never resolved to an object of the file.
			if x, ok := n.X.(*ast.Ident); ok && names[x.Name] != "" && x.Obj == nil {
				if why := nameBan(names[x.Name], n.Sel.Name); why != "" {
					report(n.Pos(), path.Base(names[x.Name])+"."+n.Sel.Name, why)
				}
			}
		}
		return true
	})
	return found
}

// importBans returns why a package of the folder may not import the path.
func importBans(dir string, layer int, imported string) (why []string) {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		if below, placed := layers[own]; !placed {
			why = append(why, "it is in no layer")
		} else if below >= layer {
			why = append(why, fmt.Sprintf("layer %d imports only lower layers, this is %d: the layer above introduces", layer, below))
		}
	}
	if imported == "C" {
		why = append(why, "no cgo: every platform builds from any other")
	}
	if strings.HasPrefix(imported, "github.com/libp2p/") && dir != "node/p2p" {
		why = append(why, "only node/p2p knows libp2p")
	}
	if strings.HasPrefix(imported, "github.com/multiformats/") && dir != "node/p2p" && dir != "node" {
		why = append(why, "addresses are text to all but node and node/p2p")
	}
	for _, banned := range testOnly {
		if covers(banned, imported) && dir != "protocol/engine/enginetest" {
			why = append(why, "what is shipped holds no test code")
		}
	}
	if layer < pureBelow && pureImports[imported] == "" {
		for banned, reason := range impureImports {
			if covers(banned, imported) {
				why = append(why, reason)
			}
		}
	}
	return why
}

func covers(banned, imported string) bool {
	return imported == banned || strings.HasSuffix(banned, "/") && strings.HasPrefix(imported, banned)
}

func nameBan(imported, name string) string {
	if slices.Contains(allowedNames[imported], name) {
		return ""
	}
	if why := impureNames[imported][name]; why != "" {
		return why
	}
	return impureNames[imported]["*"]
}

// shipped parses every Go file below root that is not a test, for every platform.
func shipped(t *testing.T, root string) (all []source) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch base := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(base, ".") || base == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), filepath.Base(name), string(b))
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parse(dir, name, text string) (source, error) {
	at := token.NewFileSet()
	file, err := parser.ParseFile(at, name, text, 0)
	return source{dir: dir, file: file, at: at}, err
}

func TestLayers(t *testing.T) {
	all := shipped(t, "..")
	seen := map[string]bool{}
	for _, s := range all {
		seen[s.dir] = true
		for _, f := range s.check() {
			t.Error(f)
		}
	}
	for _, dir := range []string{"identity/label", "identity", "protocol", "protocol/wire"} {
		if !seen[dir] {
			t.Errorf("no file of %s was read", dir)
		}
	}
	// An exception that nothing needs any more goes.
	for dir, whats := range exceptions {
		for what := range whats {
			if !slices.ContainsFunc(all, func(s source) bool { return s.dir == dir && s.needs(what) }) {
				t.Errorf("%s: nothing needs the exception for %s", dir, what)
			}
		}
	}
}

// needs says whether check would report what if it were no exception.
func (s source) needs(what string) bool {
	kept := exceptions[s.dir]
	delete(exceptions, s.dir)
	defer func() { exceptions[s.dir] = kept }()
	return slices.ContainsFunc(s.check(), func(f finding) bool { return f.what == what })
}

func TestTopLevelNames(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != ".git" {
			names = append(names, e.Name())
		}
	}
	for _, problem := range compareNames(names) {
		t.Error(problem)
	}
}

func compareNames(names []string) (problems []string) {
	for _, name := range names {
		if !slices.Contains(topLevel, name) {
			problems = append(problems, name+" does not belong at the top of the repository: the names there are fixed")
		}
	}
	for _, name := range topLevel {
		if !slices.Contains(names, name) {
			problems = append(problems, name+" is missing at the top of the repository")
		}
	}
	return problems
}
