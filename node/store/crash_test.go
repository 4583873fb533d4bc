package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/protocol/engine"
)

var crashes = flag.Int("crashes", 30, "kills of the crash test")

// childDir is set in the process that is killed.
const childDir = "PALABRE_STORE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, crashChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// batchRows is the number of rows of batch n, which all carry n.
func batchRows(n uint64) int { return 1 + int(n*7%23) }

const canary = "canary-of-the-crash-test"

func crashBatch(n uint64) []Part {
	var a, b engine.Batch
	for i := range batchRows(n) {
		r := engine.Record{Table: 1, Key: fmt.Appendf(nil, "%08d-%03d", n, i),
			Value: bytes.Repeat(fmt.Appendf(nil, "%s %d ", canary, n), 1+int(n+uint64(i))%90)}
		if i%2 == 0 {
			a.Puts = append(a.Puts, r)
		} else {
			b.Puts = append(b.Puts, r)
		}
	}
	own := engine.Batch{Puts: []engine.Record{{Table: 2, Key: []byte("newest"), Value: binary.BigEndian.AppendUint64(nil, n), Shred: uint32(n%5 + 1)}}}
	if n%17 == 0 {
		own.ShredBefore = uint32(n % 5) // below the day of newest: works on old keys only
	}
	return []Part{{spaceA, a}, {spaceB, b}, {Space{}, own}}
}

// crashChild commits numbered batches for ever and says each number after its
// commit has returned.
func crashChild(dir string) error {
	d, err := Open(dir, testKey)
	if err != nil {
		return err
	}
	fmt.Println("open")
	v, err := d.Space(Space{}).Get(2, []byte("newest"))
	if err != nil {
		return err
	}
	n := uint64(0)
	if v != nil {
		n = binary.BigEndian.Uint64(v)
	}
	for {
		n++
		if err := d.CommitAll(crashBatch(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestCrash kills a writer at random moments: nothing that it said was
// committed may be lost, and each batch is there whole or not at all. It does
// not test the loss of power: the kernel keeps the pages.
func TestCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	seed := uint64(80)
	r := rand.New(rand.NewPCG(seed, 0))
	acked := uint64(0)
	withLog := 0
	for cycle := range *crashes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if cycle%5 != 4 && !lines.Scan() { // every fifth kill may hit the opening
			t.Fatalf("cycle %d: the writer did not open: %s", cycle, stderr.String())
		}
		kill := time.AfterFunc(time.Duration(r.IntN(60_000))*time.Microsecond, func() { cmd.Process.Kill() })
		for lines.Scan() {
			var n uint64
			if _, err := fmt.Sscan(lines.Text(), &n); err == nil {
				acked = max(acked, n)
			}
		}
		cmd.Wait()
		kill.Stop()
		if stderr.Len() > 0 {
			t.Fatalf("cycle %d: %s", cycle, stderr.String())
		}
		if len(snapshotIfAny(dir)[fileDB+"-wal"]) > 0 {
			withLog++
		}
		noCanary(t, dir)
		checkCrashed(t, dir, cycle, acked)
	}
	t.Logf("%d kills, %d with a log left behind, %d batches acknowledged", *crashes, withLog, acked)
	if acked < uint64(*crashes) || withLog < *crashes/3 {
		t.Fatal("the test did not reach the commits")
	}
}

func snapshotIfAny(dir string) image {
	im := image{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		im[e.Name()], _ = os.ReadFile(filepath.Join(dir, e.Name()))
	}
	return im
}

func checkCrashed(t *testing.T, dir string, cycle int, acked uint64) {
	t.Helper()
	d, err := Open(dir, testKey) // the lock of the dead must be gone
	if err != nil {
		t.Fatalf("cycle %d: %v", cycle, err)
	}
	defer d.Close()
	count := map[uint64]int{}
	newest := uint64(0)
	for _, s := range []Space{spaceA, spaceB} {
		err := d.Space(s).Scan(1, nil, func(k, v []byte) error {
			var n uint64
			if _, err := fmt.Sscanf(string(k), "%08d-", &n); err != nil {
				return err
			}
			if !bytes.HasPrefix(v, fmt.Appendf(nil, "%s %d ", canary, n)) {
				return errors.New("altered value")
			}
			count[n]++
			newest = max(newest, n)
			return nil
		})
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
	}
	if newest < acked {
		t.Fatalf("cycle %d: batch %d was acknowledged, the newest is %d", cycle, acked, newest)
	}
	for n := uint64(1); n <= newest; n++ {
		if count[n] != batchRows(n) {
			t.Fatalf("cycle %d: batch %d has %d of %d rows", cycle, n, count[n], batchRows(n))
		}
	}
	if v, err := d.Space(Space{}).Get(2, []byte("newest")); newest > 0 && (err != nil || len(v) != 8 || binary.BigEndian.Uint64(v) != newest) {
		t.Fatalf("cycle %d: the third space is not of the same batch: %v", cycle, err)
	}
}

// findIn lists the files of dir that hold word, by file name, in the raw bytes.
func findIn(t testing.TB, dir, word string) (in []string) {
	t.Helper()
	for name, b := range snapshot(t, dir) {
		if bytes.Contains(b, []byte(word)) {
			in = append(in, name)
		}
	}
	return in
}

func noCanary(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return
	}
	for _, word := range []string{canary, "SQLite format", "newest", "CREATE TABLE"} {
		if in := findIn(t, dir, word); in != nil {
			t.Fatalf("%q lies open in %v", word, in)
		}
	}
}

func TestNothingLiesOpen(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	for n := range uint64(60) {
		if err := d.CommitAll(crashBatch(n + 1)); err != nil {
			t.Fatal(err)
		}
	}
	noCanary(t, dir)
	d.Close()
	noCanary(t, dir)
	// The scan finds a word that does lie there.
	if err := os.WriteFile(filepath.Join(dir, "planted"), []byte(strings.Repeat("x", 5000)+canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if in := findIn(t, dir, canary); len(in) != 1 {
		t.Fatal("the scan is blind")
	}
}
