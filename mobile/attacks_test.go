package mobile

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// exported are all functions of the package; a test reads the source and wants
// none to be left out.
var exported = map[string]any{"Create": Create, "Open": Open}

// Row 70 of spec 95: nothing that an app hands in makes a panic come back, nor
// stops the profile from working.
func TestNothingPanicsIntoTheApp(t *testing.T) {
	packages, err := parser.ParseDir(token.NewFileSet(), ".", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, p := range packages {
		for name, file := range p.Files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if strings.HasSuffix(name, "_test.go") || !ok || f.Recv != nil || !f.Name.IsExported() {
					continue
				}
				named++
				if exported[f.Name.Name] == nil {
					t.Errorf("%s is not tried", f.Name.Name)
				}
			}
		}
	}
	if named != len(exported) {
		t.Errorf("the package has %d functions, %d are tried", named, len(exported))
	}

	// Relative paths that the calls below are given stay in a folder of the test.
	inside := filepath.Join(t.TempDir(), "app")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inside)

	dir := t.TempDir()
	if err := Create(dir, "Awa", words); err != nil {
		t.Fatal(err)
	}
	open, err := Open(dir, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.do(api.CommandGroupCreate, api.GroupCreateArgs{Name: "Voisins"}); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := Create(other, "Ben", words); err != nil {
		t.Fatal(err)
	}
	closed, err := Open(other, words)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	calls := 0
	try := func(name string, f reflect.Value) {
		for _, args := range arguments(f.Type()) {
			calls++
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s panics: %v", name, r)
					}
				}()
				out := f.Call(args)
				if p, ok := out[0].Interface().(*Profile); ok && p != nil {
					p.Close()
				}
			}()
		}
	}
	for name, f := range exported {
		try(name, reflect.ValueOf(f))
	}
	for what, p := range map[string]*Profile{"nil": nil, "zero": {}, "closed": closed, "open": open} {
		v := reflect.ValueOf(p)
		for i := range v.NumMethod() {
			if name := v.Type().Method(i).Name; what != "open" || name != "Close" {
				try(what+" "+name, v.Method(i))
			}
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls were made", calls)
	}
	id, err := open.Post("", "fr", "Bonjour", "Corps")
	if err != nil {
		t.Errorf("after all of it: %v", err)
	}
	list, err := open.List("")
	if err != nil || !json.Valid([]byte(list)) || !strings.Contains(list, id) {
		t.Errorf("the list after all of it is %.200q, %v", list, err)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
}

// arguments makes lists of arguments: each hostile value in all places, and in
// each place beside plain ones.
func arguments(f reflect.Type) (lists [][]reflect.Value) {
	hostile := []string{"", "\x00", "\xff\xfe\xfd", "\u202e", "../escape", "/dev/null", strings.Repeat("é", 1<<19), "{\"a\":1}", "-1", "palabre://join#AAAA"}
	value := func(of reflect.Type, s string, null bool) reflect.Value {
		if of.Kind() == reflect.Slice && null {
			return reflect.Zero(of)
		}
		return reflect.ValueOf(s).Convert(of)
	}
	for _, s := range hostile {
		all := []reflect.Value{}
		for i := range f.NumIn() {
			all = append(all, value(f.In(i), s, s == ""))
		}
		lists = append(lists, all)
		for i := range f.NumIn() {
			one := []reflect.Value{}
			for k := range f.NumIn() {
				if k == i {
					one = append(one, all[k])
				} else {
					one = append(one, value(f.In(k), "fr", false))
				}
			}
			lists = append(lists, one)
		}
	}
	return lists
}
