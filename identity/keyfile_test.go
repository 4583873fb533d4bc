package identity

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// cheap is a cost that only the unexported functions accept.
var cheap = KeyFileParams{MemoryKiB: 8, Time: 1, Parallelism: 1}

func seeded(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func cheapFile(t testing.TB, seed byte, passphrase string) ([]byte, MasterKey) {
	t.Helper()
	master := MasterKeyFromBytes(loud())
	file, err := sealKeyFile([]byte(passphrase), master, cheap, seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return file, master
}

// openCheap is OpenKeyFile without the floor.
func openCheap(file []byte, passphrase string) (MasterKey, error) {
	p, err := parseKeyFile(file)
	if err != nil {
		return MasterKey{}, err
	}
	if p.MemoryKiB > MaxMemoryKiB || p.Time < 1 || p.Time > MaxTime || p.Parallelism < 1 || p.Parallelism > MaxParallelism {
		return MasterKey{}, ErrKeyFile
	}
	_, master, err := openKeyFile(file, []byte(passphrase))
	return master, err
}

// resum is what somebody does who alters a file on purpose.
func resum(file []byte) []byte {
	sum := keyFileSum(file)
	copy(file[offSum:], sum[:])
	return file
}

func usedSlot(t testing.TB, file []byte, passphrase string) byte {
	t.Helper()
	slot, _, err := openKeyFile(file, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

func TestKeyFileAtRealCost(t *testing.T) {
	master := MasterKeyFromBytes(loud())
	file, err := SealKeyFile([]byte("six words"), master, DefaultKeyFileParams(), seeded(1))
	if err != nil || len(file) != KeyFileSize {
		t.Fatal(len(file), err)
	}
	if got, err := OpenKeyFile(file, []byte("six words")); err != nil || !got.Equal(master) {
		t.Errorf("opening: %v", err)
	}
	if _, err := OpenKeyFile(file, []byte("six word")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong passphrase gave %v", err)
	}
	changed, err := ChangePassphrase(file, []byte("six words"), []byte("other"), seeded(2))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenKeyFile(changed, []byte("other")); err != nil || !got.Equal(master) {
		t.Errorf("opening after the change: %v", err)
	}
}

func TestKeyFileBoundsWithoutSpending(t *testing.T) {
	base, _ := cheapFile(t, 1, "p")
	for _, p := range []KeyFileParams{
		{}, cheap, {MinMemoryKiB - 1, 3, 1}, {MinMemoryKiB, 2, 1}, {MinMemoryKiB, 3, 0}, {MaxMemoryKiB + 1, 3, 1},
		{1<<32 - 1, 3, 1}, {MinMemoryKiB, 21, 1}, {MinMemoryKiB, 255, 1}, {MinMemoryKiB, 3, 9}, {MinMemoryKiB, 0, 1},
	} {
		file := bytes.Clone(base)
		binary.BigEndian.PutUint32(file[offMemory:], p.MemoryKiB)
		file[offTime], file[offThreads] = p.Time, p.Parallelism
		resum(file)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err1 := SealKeyFile([]byte("p"), MasterKeyFromBytes(loud()), p, seeded(1))
		_, err2 := OpenKeyFile(file, []byte("p"))
		_, err3 := ChangePassphrase(file, []byte("p"), []byte("q"), seeded(1))
		runtime.ReadMemStats(&after)
		if !errors.Is(err1, ErrKeyFileParams) || !errors.Is(err2, ErrKeyFile) || !errors.Is(err3, ErrKeyFile) {
			t.Errorf("%+v: %v, %v, %v", p, err1, err2, err3)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<10 {
			t.Errorf("%+v: %d bytes allocated before the refusal", p, grown)
		}
	}
	for _, p := range []KeyFileParams{DefaultKeyFileParams(), {MaxMemoryKiB, MaxTime, MaxParallelism}} {
		if !p.valid() {
			t.Errorf("%+v is refused", p)
		}
	}
}

func TestEveryByteOfTheKeyFileCounts(t *testing.T) {
	file, master := cheapFile(t, 3, "p")
	used := int(usedSlot(t, file, "p"))
	start, end := headerSize+used*slotSize, headerSize+(used+1)*slotSize
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if _, err := openCheap(bad, "p"); !errors.Is(err, ErrKeyFile) {
			t.Fatalf("byte %d damaged: %v, want damaged", i, err)
		}
		got, err := openCheap(resum(bad), "p")
		var want error
		switch {
		case i >= offSum: // the checksum itself, put right again
		case i < offMemory, i == offSalt-1:
			want = ErrKeyFile
		case i < headerSize:
			want = ErrPassphrase
			if p := statedParams(bad); p.MemoryKiB > MaxMemoryKiB || p.Time == 0 || p.Parallelism == 0 {
				want = ErrKeyFile
			}
		case i >= start && i < start+commitSize+chacha20poly1305.NonceSizeX:
			want = ErrPassphrase
		case i >= start && i < end:
			want = ErrKeyFile
		}
		if !errors.Is(err, want) || (want == nil) != got.Equal(master) {
			t.Fatalf("byte %d altered, checksum put right: %v, want %v", i, err, want)
		}
	}
	for n := range len(file) + 2 {
		if n == len(file) {
			continue
		}
		if _, err := openCheap(append(bytes.Clone(file), 0)[:min(n, len(file)+1)], "p"); !errors.Is(err, ErrKeyFile) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestSlotsLookAlike(t *testing.T) {
	if slotSize != 104 || offSum != 256 || KeyFileSize != offSum+32 {
		t.Fatal("the byte table of spec 85 does not hold")
	}
	const files = 512
	var used [slotCount]int
	var ones [slotCount * slotSize * 8]int
	for i := range files {
		var seed [32]byte
		binary.BigEndian.PutUint32(seed[:], uint32(i))
		file, err := sealKeyFile([]byte("p"), MasterKeyFromBytes(loud()), cheap, rand.NewChaCha8(seed))
		if err != nil {
			t.Fatal(err)
		}
		used[usedSlot(t, file, "p")]++
		for b := range ones {
			ones[b] += int(file[headerSize+b/8] >> (b % 8) & 1)
		}
	}
	if used[0] < files/3 || used[1] < files/3 {
		t.Errorf("the slot in use is not drawn evenly: %v", used)
	}
	for b, n := range ones { // six standard deviations: sqrt(512)/2 = 11.3
		if n < files/2-68 || n > files/2+68 {
			t.Errorf("bit %d of the slots is 1 in %d of %d files", b, n, files)
		}
	}
}

func TestSlotsAreBoundToFileAndPlace(t *testing.T) {
	file, _ := cheapFile(t, 4, "p")
	other, _ := cheapFile(t, 5, "p")
	used := usedSlot(t, file, "p")
	swapped := bytes.Clone(file)
	copy(slotOf(swapped, 1-used), slotOf(file, used))
	copy(slotOf(swapped, used), slotOf(file, 1-used))
	if _, err := openCheap(resum(swapped), "p"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a slot opens in the other place: %v", err)
	}
	mixed := bytes.Clone(other)
	copy(slotOf(mixed, 0), slotOf(file, used))
	copy(slotOf(mixed, 1), slotOf(file, used))
	if _, err := openCheap(resum(mixed), "p"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a slot opens in another file: %v", err)
	}
}

func TestChangePassphraseKeepsTheOtherSlot(t *testing.T) {
	file, master := cheapFile(t, 6, "real")
	used := usedSlot(t, file, "real")
	// Fill the other slot as a second passphrase will.
	decoy := MasterKeyFromBytes([SeedSize]byte{1})
	normal, _ := normalPassphrase([]byte("decoy"))
	sealSlot(file, 1-used, stretch(file, normal), decoy)
	resum(file)

	kept := bytes.Clone(file)
	changed, err := changePassphrase(file, []byte("real"), []byte("new"), seeded(7))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, kept) {
		t.Error("the given file was written to")
	}
	if !bytes.Equal(changed[:headerSize], file[:headerSize]) || !bytes.Equal(slotOf(changed, 1-used), slotOf(file, 1-used)) {
		t.Error("more than one slot changed")
	}
	if bytes.Equal(slotNonce(changed, used), slotNonce(file, used)) {
		t.Error("the nonce was used again")
	}
	for passphrase, want := range map[string]MasterKey{"new": master, "decoy": decoy} {
		if got, err := openCheap(changed, passphrase); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v", passphrase, err)
		}
	}
	if _, err := openCheap(changed, "real"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("the old passphrase gave %v", err)
	}
	if _, err := changePassphrase(file, []byte("wrong"), []byte("new"), seeded(7)); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong old passphrase gave %v", err)
	}
	for _, next := range []string{"decoy", ""} {
		if _, err := changePassphrase(file, []byte("real"), []byte(next), seeded(7)); !errors.Is(err, ErrNewPassphrase) {
			t.Errorf("the new passphrase %q gave %v", next, err)
		}
	}
	if _, err := changePassphrase(file, []byte("real"), []byte("new"), bytes.NewReader(nil)); err == nil {
		t.Error("a reader without bytes was not noticed")
	}
}

func TestPassphraseForms(t *testing.T) {
	file, _ := cheapFile(t, 8, "caf\u00e9 noir") // composed, plain space
	for passphrase, opens := range map[string]bool{
		"cafe\u0301 noir": true, "caf\u00e9\u00a0noir": true, "caf\u00e9\u3000noir": true,
		"Caf\u00e9 noir": false, "cafe noir": false, " caf\u00e9 noir": false, "caf\u00e9 noir\n": false, "caf\u00e9noir": false,
		"caf\u00e9 noi\uff52": false, "": false, "caf\xe9 noir": false, string(make([]byte, MaxPassphrase+1)): false,
	} {
		if _, err := openCheap(file, passphrase); (err == nil) != opens || (!opens && !errors.Is(err, ErrPassphrase)) {
			t.Errorf("%q: %v", passphrase, err)
		}
	}
	for _, passphrase := range []string{"", "\xff", string(make([]byte, MaxPassphrase+1))} {
		if _, err := sealKeyFile([]byte(passphrase), MasterKeyFromBytes(loud()), cheap, seeded(1)); !errors.Is(err, ErrNewPassphrase) {
			t.Errorf("sealing under %d bytes: %v", len(passphrase), err)
		}
	}
	for n := range offSum - offSalt + 1 {
		if _, err := sealKeyFile([]byte("p"), MasterKeyFromBytes(loud()), cheap, bytes.NewReader(make([]byte, n))); err == nil {
			t.Fatalf("sealed with %d random bytes", n)
		}
	}
}

// The vector of spec 85 section 5: reduced cost, so that it is refused by
// OpenKeyFile but checks every derivation.
func TestKeyFileVector(t *testing.T) {
	var random [offSum - offSalt + 1]byte
	for i := range random {
		random[i] = byte(i)
	}
	var key [SeedSize]byte
	for i := range key {
		key[i] = byte(0xf0 - i)
	}
	file, err := sealKeyFile([]byte("correct horse"), MasterKeyFromBytes(key), cheap, bytes.NewReader(random[:]))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(slotOf(file, 0)) + hex.EncodeToString(file[offSum:]); got != keyFileVector {
		t.Errorf("slot 0 and checksum are %s", got)
	}
}

const keyFileVector = "a9992e9374093144eaced773926fb99d8f21365a5a67b1203038ebcec2c54699404142434445464748494a4b4c4d4e4f505152535455565715c9d86c6508a18d5701155f2d1ff55511c8cb3335634c1799b39aa50ae9f4fc31922a8cae98a12edefdbbf8c2ffc56aa3180118253392143a9dad123efc36cad7ff2ecb62df3c949ed1fd9e21bb1e9a"

func FuzzKeyFile(f *testing.F) {
	file, _ := cheapFile(f, 9, "p")
	f.Add(file, false)
	f.Add(file[:offSum], true)
	f.Fuzz(func(t *testing.T, b []byte, right bool) {
		if right && len(b) >= offSum {
			b = resum(append(bytes.Clone(b[:offSum]), make([]byte, 32)...))
		}
		p, err := parseKeyFile(b)
		if err != nil {
			if !errors.Is(err, ErrKeyFile) {
				t.Fatal(err)
			}
			return
		}
		again := append([]byte(keyFileMagic), keyFileVersion)
		again = binary.BigEndian.AppendUint32(again, p.MemoryKiB)
		again = append(again, p.Time, p.Parallelism, 0)
		again = append(again, b[offSalt:headerSize]...)
		again = append(append(again, slotOf(b, 0)...), slotOf(b, 1)...)
		sum := keyFileSum(again)
		if !bytes.Equal(append(again, sum[:]...), b) {
			t.Fatal("what parses does not encode to the same bytes")
		}
		// Any key against any slots: an error, never a panic or a master key.
		if _, _, err := openSlots(b, make([]byte, SeedSize)); err == nil {
			t.Fatal("random bytes opened")
		}
	})
}
