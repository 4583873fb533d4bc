package node_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// faults are published faults of libraries that strangers' bytes reach, and the version
// in which the last of each was mended (spec 95 rows 13 to 16). Whoever hears of a new
// one adds a line here.
var faults = []struct{ module, mended, what string }{
	{"github.com/quic-go/quic-go", "v0.59.1", "CVE-2023-49295, 2024-22189, 2024-53259, 2025-29785, 2025-59530, 2025-64702, 2026-40898: memory without bound, crashes"},
	{"github.com/libp2p/go-libp2p", "v0.29.1", "CVE-2023-40583, 2023-39533, 2022-23492: peer store without bound, RSA keys without bound, resources"},
}

// version is a version as three numbers. False: it is none that was released.
func version(s string) (v [3]int, ok bool) {
	n, err := fmt.Sscanf(s, "v%d.%d.%d", &v[0], &v[1], &v[2])
	return v, n == 3 && err == nil && s == fmt.Sprintf("v%d.%d.%d", v[0], v[1], v[2])
}

// Spec 95 row 16: what is pinned is not older than the mend of any fault that is known
// here, so that nobody goes back behind one.
func TestNothingPinnedHasAKnownFault(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pinned := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if w := strings.Fields(lines.Text()); len(w) >= 2 && strings.HasPrefix(w[1], "v") {
			pinned[w[0]] = w[1]
		}
		if strings.HasPrefix(lines.Text(), "replace") {
			t.Errorf("%q: another version may be built than is checked here", lines.Text())
		}
	}
	for _, x := range faults {
		have, ok := version(pinned[x.module])
		mended, sound := version(x.mended)
		if !ok || !sound {
			t.Errorf("%s %q: no version that could be compared", x.module, pinned[x.module])
			continue
		}
		for i := range have {
			if have[i] < mended[i] {
				t.Errorf("%s %s is older than %s: %s", x.module, pinned[x.module], x.mended, x.what)
			}
			if have[i] != mended[i] {
				break
			}
		}
	}
}
