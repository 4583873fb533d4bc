package enginetest

import (
	"bufio"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
)

var (
	seeds     = flag.Int("seeds", 60, "how many drawn scenarios TestSeeds runs; TestGovernedSeeds runs a quarter")
	seedsFrom = flag.Uint64("seeds-from", 1, "the first of them")
)

// TestSeeds runs drawn scenarios, among them all that ever failed, and wants
// each kind of fault to have happened.
func TestSeeds(t *testing.T) {
	list := failedOnce(t, "seeds")
	for i := range uint64(*seeds) {
		list = append(list, *seedsFrom+i)
	}
	total := map[string]int{}
	for _, seed := range list {
		cryptotest.SetGlobalRandom(t, seed) // so that what fails fails again
		w, err := RunSeed(seed, NoBug)
		if err != nil {
			t.Errorf("%v\n%s", err, strings.Join(w.Log, "\n"))
		}
		for k, n := range w.Counts {
			total[k] += n
		}
	}
	t.Logf("over %d seeds:\n%s", len(list), sortedCounts(total))
	if len(list) < 100 {
		return
	}
	for _, k := range Kinds {
		if total[k] == 0 {
			t.Errorf("no scenario had the fault %q", k)
		}
	}
}

// TestGovernedSeeds runs drawn scenarios in which people govern as well.
func TestGovernedSeeds(t *testing.T) {
	list := failedOnce(t, "governed")
	for i := range uint64(*seeds / 4) {
		list = append(list, *seedsFrom+i)
	}
	total := map[string]int{}
	for _, seed := range list {
		cryptotest.SetGlobalRandom(t, seed)
		w, err := RunGovernedSeed(seed)
		if err != nil {
			t.Errorf("%v\n%s", err, strings.Join(w.Log, "\n"))
		}
		for k, n := range w.Counts {
			total[k] += n
		}
	}
	t.Logf("over %d seeds:\n%s", len(list), sortedCounts(total))
	for _, k := range Governing {
		if *seeds >= 800 && total[k] == 0 {
			t.Errorf("in no scenario there was %q", k)
		}
	}
}

// failedOnce reads the seeds of scenarios that once failed, from the lists in a
// folder of testdata.
func failedOnce(t *testing.T, folder string) []uint64 {
	files, err := filepath.Glob("testdata/" + folder + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no list of seeds: %v", err)
	}
	var list []uint64
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			line, _, _ := strings.Cut(in.Text(), "#")
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			seed, err := strconv.ParseUint(line, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			list = append(list, seed)
		}
	}
	return list
}

// TestSameSeedSameRun wants all that every engine asked for, byte by byte, to
// depend on the seed alone.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) [32]byte {
		cryptotest.SetGlobalRandom(t, seed)
		w, err := RunSeed(seed, NoBug)
		if err != nil {
			t.Fatal(err)
		}
		return w.Digest()
	}
	for _, seed := range []uint64{3, 4, 5} {
		if run(seed) != run(seed) {
			t.Errorf("seed %d gave two different runs", seed)
		}
	}
	if run(3) == run(4) {
		t.Error("two seeds gave one run: the digest sees nothing")
	}
}

// TestBugsAreFound proves that the harness can fail: each deliberate mistake of
// the shell breaks a promise within the seeds that the tests run.
func TestBugsAreFound(t *testing.T) {
	for name, bug := range map[string]Bug{"send first": SendFirst, "lose chains": LoseChains, "nobody asks": NobodyAsks, "anyone enters": AnyoneEnters} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				cryptotest.SetGlobalRandom(t, seed+1)
				if _, err := RunSeed(seed+1, bug); err != nil {
					t.Log(err)
					return
				}
			}
			t.Error("60 seeds did not find it")
		})
	}
}
