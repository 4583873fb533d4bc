package main

import (
	"os"
	"strings"
	"testing"
)

// A phone of an organiser is seized, and its copy is used against the group: the
// story of how it is overcome tells only what it checked, to the end.
func TestSeizedOrganiserIsOvercome(t *testing.T) {
	t.Parallel()
	temp := place(t)
	p := palabre(t, "", "demo", "seized").with("TMPDIR="+temp, "PALABRE_PASSPHRASE_FILE=")
	if code := p.exit(t); code != exitDone {
		t.Fatalf("exit %d\n%s%s", code, p.out.String(), p.err.String())
	}
	for _, told := range []string{"2 of 2 organisers must agree: 1 has", "three organisers", "Clara suspended Awa", "Clara removed Dawit",
		"one organiser stops one at most", "can remove nobody any more", "2 of 3 organisers must agree: 1 has", "still has a voice",
		"Dawit in it again", "neither is suspended", "Awa reads: Nouvelle adresse", "Elena reads: On continue",
		"reads nothing that came after", "has any effect", "Clara-again reads: Bon retour"} {
		if !strings.Contains(p.out.String(), told) {
			t.Errorf("the story does not tell of %q:\n%s", told, p.out.String())
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The story of the seized phone ends with an error where a claim does not hold:
// here nobody agrees to make Clara an organiser, for the only other one is off.
func TestSeizedStoryNoticesABrokenClaim(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := &seizedStory{story: &story{out: &out, dir: place(t), env: []string{asProgram + "=1"}}}
	var err error
	if s.exe, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	must(t, s.begins())
	s.bilal.kill()
	if err := s.threeOrganise(); err == nil || strings.Contains(out.String(), "three organisers") {
		t.Errorf("the story goes on without Bilal: %v\n%s", err, out.String())
	}
}
