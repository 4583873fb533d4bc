package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// Of a closed profile one byte is changed, or the end of a file is missing:
// `notices` gives the right data or one plain error, and never altered data, a
// shorter list or a crash. Putting the byte back gives everything back.
//
// By default a sample of offsets by seed is tried. All of the key file, and each
// 97th byte of the others (about twenty minutes):
//
//	go test ./cmd/palabre -run TestOneChangedByte -thorough -timeout 2h
func TestOneChangedByte(t *testing.T) {
	t.Parallel()
	dir := place(t)
	p := someone(t, dir, "Awa")
	must(t, p.on(onTCP))
	must(t, p.do(nil, "group", "create", "Les voisins"))
	for i := range 8 {
		says(t, p, fmt.Sprintf("Avis %d", i), strings.Repeat("Demain à 18 h. ", 20*i+1))
	}
	must(t, p.off())
	whole := files(t, p.dir)
	right := p.try(t, "notices", "--all")
	if right.exit != exitDone || strings.Count(right.out, `"id"`) != 8 {
		t.Fatalf("the whole profile: %+v", right)
	}

	const seed = 5
	rng := rand.New(rand.NewPCG(seed, seed))
	ok, refused := map[string]int{}, map[string]int{}
	try := func(what, name string, changed []byte) {
		t.Helper()
		damaged := copyOf(t, p, dir, whole, name, changed)
		got := damaged.try(t, "notices", "--all")
		switch {
		case got.exit == exitDone && got.out == right.out && got.err == "":
			ok[name]++
		case got.exit == exitDone:
			t.Errorf("%s: altered data, or a complaint beside it:\n%q\n%q", what, got.out, got.err)
		default:
			refused[name]++
			switch e := got.fault(t); e.Code {
			case api.CodeDamaged, api.CodeWrongPassphrase, api.CodeNewerVersion:
			case api.CodeProfileMissing:
				if name != "key" {
					t.Errorf("%s: %q", what, got.err)
				}
			default:
				t.Errorf("%s: %q", what, got.err)
			}
			if refused[name]%4 != 1 {
				break
			}
			must(t, os.WriteFile(filepath.Join(damaged.dir, name), whole[filepath.Join(p.dir, name)], 0o600))
			if again := damaged.try(t, "notices", "--all"); again.exit != exitDone || again.out != right.out {
				t.Errorf("%s, put back: exit %d, %q", what, again.exit, again.err)
			}
		}
		must(t, os.RemoveAll(damaged.dir))
	}
	names := 0
	for _, path := range slices.Sorted(maps.Keys(whole)) {
		name, content := filepath.Base(path), whole[path]
		if len(content) == 0 {
			continue // the lock
		}
		names++
		for _, at := range offsets(rng, name, len(content)) {
			changed := slices.Clone(content)
			changed[at] ^= byte(1 << rng.IntN(8))
			try(fmt.Sprintf("%s, byte %d changed", name, at), name, changed)
		}
		for _, size := range []int{0, 1, rng.IntN(len(content)), len(content) - 1} {
			try(fmt.Sprintf("%s, cut to %d bytes", name, size), name, content[:size:size])
		}
	}
	t.Logf("the right data: %v, one error: %v", ok, refused)
	if names < 2 || refused["key"] == 0 || refused["store.db"] == 0 {
		t.Errorf("%d files of a profile were damaged, and refused: %v", names, refused)
	}
}

// offsets are those of a file that are changed: some of each part of it.
func offsets(rng *rand.Rand, name string, size int) []int {
	step, sample := 1, 12
	if name != "key" {
		step, sample = 97, 16
	}
	var list []int
	if *thorough {
		for at := 0; at < size; at += step {
			list = append(list, at)
		}
		return list
	}
	for i := range min(sample, size) {
		from, to := i*size/sample, (i+1)*size/sample
		list = append(list, from+rng.IntN(max(1, to-from)))
	}
	return list
}

// copyOf makes a copy of a closed profile with one file changed.
func copyOf(t *testing.T, p *person, dir string, whole map[string][]byte, name string, changed []byte) *person {
	t.Helper()
	c := *p
	c.dir = filepath.Join(dir, "copy")
	must(t, os.Mkdir(c.dir, 0o700))
	for path, content := range whole {
		if filepath.Base(path) == name {
			content = changed
		}
		must(t, os.WriteFile(filepath.Join(c.dir, filepath.Base(path)), content, 0o600))
	}
	return &c
}
