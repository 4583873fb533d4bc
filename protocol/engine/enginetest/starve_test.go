package enginetest

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
)

var (
	starveSeeds = flag.Int("starve-seeds", 1, "how many drawn histories TestNobodyStarves runs")
	starveFrom  = flag.Uint64("starve-from", 1, "the first of them")
)

// TestNobodyStarves holds drawn histories without any attacker to spec 46
// section 5, among them all that ever failed: those at high risk, which take longest,
// only where more than one is asked for.
func TestNobodyStarves(t *testing.T) {
	list := failedOnce(t, "starved")
	if *starveSeeds == 1 {
		list = slices.DeleteFunc(list, func(seed uint64) bool { return seed >= riskFrom })
	}
	for i := range uint64(*starveSeeds) {
		list = append(list, *starveFrom+i)
	}
	total := map[string]int{}
	failed := 0
	for _, seed := range list {
		cryptotest.SetGlobalRandom(t, seed)
		w, err := RunStarveSeed(seed)
		if err != nil {
			failed++
			t.Errorf("%v\n%s", err, strings.Join(w.Log, "\n"))
		}
		for k, n := range w.Counts {
			total[k] += n
		}
	}
	t.Logf("%d of %d histories failed:\n%s", failed, len(list), sortedCounts(total))
	for _, k := range Deeds {
		if len(list) >= 60 && total[k] == 0 {
			t.Errorf("in no history there was %q", k)
		}
	}
}
