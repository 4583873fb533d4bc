package label

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// constants returns the labels of labels.go by name.
func constants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "labels.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			v := spec.(*ast.ValueSpec)
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Label" || len(v.Names) != 1 || len(v.Values) != 1 {
				t.Fatalf("%v is not one constant of type Label", v.Names)
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil || text == "" {
				t.Fatalf("%s is no string: %v", v.Names[0], err)
			}
			found[v.Names[0].Name] = text
		}
	}
	if len(found) < 50 {
		t.Fatalf("only %d labels found", len(found))
	}
	return found
}

// TestLabelsAreDistinct demands more than it must: no two labels are equal even
// where different functions use them.
func TestLabelsAreDistinct(t *testing.T) {
	names := map[string]string{}
	for name, text := range constants(t) {
		if first, ok := names[text]; ok {
			t.Errorf("%s and %s are both %q", first, name, text)
		}
		names[text] = name
	}
	for kind := range 256 {
		l := string(Frame(uint8(kind)))
		if first, ok := names[l]; ok {
			t.Errorf("%s and Frame(%d) are both %q", first, kind, l)
		}
		names[l] = "Frame(" + strconv.Itoa(kind) + ")"
	}
}

// TestSpecListsEachLabel reads the table of spec 10 section 4.
func TestSpecListsEachLabel(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "protocol", "spec", "10-encodings.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "\n## 4. Labels\n")
	if !ok {
		t.Fatal("spec 10 has no section 4")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]int{}
	for line := range strings.Lines(table) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			text, _, _ := strings.Cut(rest, "`")
			listed[text]++
		}
	}
	for name, text := range constants(t) {
		if listed[text] != 1 {
			t.Errorf("%s, %q, is listed %d times", name, text, listed[text])
		}
		delete(listed, text)
	}
	delete(listed, "Frame n")
	for text := range listed {
		t.Errorf("%q is in the table but is no constant", text)
	}
}
