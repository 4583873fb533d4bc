package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The demo tells its story to the end, and leaves nothing behind.
func TestDemoTellsItsStory(t *testing.T) {
	t.Parallel()
	temp := place(t)
	p := palabre(t, "", "demo").with("TMPDIR="+temp, "PALABRE_PASSPHRASE_FILE=")
	if code := p.exit(t); code != exitDone {
		t.Fatalf("exit %d\n%s%s", code, p.out.String(), p.err.String())
	}
	for _, told := range []string{"safety words", "توزيع الطعام", "version 2", "Clara is back", "no server", "cannot read the new one"} {
		if !strings.Contains(p.out.String(), told) {
			t.Errorf("the story does not tell of %q:\n%s", told, p.out.String())
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// With --keep the phones' folders stay, and can be opened.
func TestDemoKeepsThePhones(t *testing.T) {
	t.Parallel()
	dir := place(t)
	p := palabre(t, "", "demo", "--keep", dir, "--json")
	if code := p.exit(t); code != exitDone || p.out.String() != `{"done":true}`+"\n" {
		t.Fatalf("exit %d\n%s%s", code, p.out.String(), p.err.String())
	}
	clara := stranger(t, dir, "Clara")
	list, err := clara.notices(true)
	must(t, err)
	if len(list) != 6 {
		t.Errorf("Clara has %d notices", len(list))
	}
	// The phones of one story are not those of another.
	p = palabre(t, "", "demo", "--keep", dir, "--json")
	if code := p.exit(t); code != exitFailed || !strings.Contains(p.err.String(), "profile") {
		t.Errorf("a second story in the same folder: exit %d, %s", code, p.err.String())
	}
}

// A claim that does not hold ends the story with an error: here nobody can get
// the announcement, for the phones that should are off.
func TestDemoNoticesABrokenClaim(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	dir := place(t)
	s := &story{out: &out, dir: dir, env: []string{asProgram + "=1"}}
	var err error
	if s.exe, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	must(t, s.groupForms())
	s.bilal.kill()
	if err := s.twoLanguages(); err == nil {
		t.Errorf("the story goes on without Bilal:\n%s", out.String())
	}
	if strings.Contains(out.String(), "Bilal reads it in Arabic") {
		t.Errorf("the story claims what is not so:\n%s", out.String())
	}
	// A claim is told only if it holds.
	out.Reset()
	if err := s.holds(false, "%s holds", "nothing"); err == nil || out.Len() > 0 {
		t.Errorf("a false claim: %v, told %q", err, out.String())
	}
	// And the program says so with its exit code.
	must(t, os.WriteFile(filepath.Join(dir, "taken"), nil, 0o600))
	p := palabre(t, "", "demo", "--keep", filepath.Join(dir, "taken"))
	if code := p.exit(t); code != exitFailed {
		t.Errorf("exit %d where no phone can be made", code)
	}
}
