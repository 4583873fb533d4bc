package identity

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/identity/label"
)

// KeyFileSize is the length in bytes of every key file (spec 85 section 1).
const KeyFileSize = 288

// Offsets of the parts of a key file (spec 85 section 1).
const (
	keyFileMagic   = "palabkey"
	keyFileVersion = 1
	offMemory      = 9
	offTime        = 13
	offThreads     = 14
	offSalt        = 16
	headerSize     = 48
	slotCount      = 2
	commitSize     = 32
	slotSize       = commitSize + chacha20poly1305.NonceSizeX + SeedSize + chacha20poly1305.Overhead
	offSum         = headerSize + slotCount*slotSize
)

// Errors of key files. Neither says what was tried.
var (
	// ErrPassphrase says that the passphrase opens no slot of the file. A file
	// that somebody altered on purpose, with its checksum, reads the same.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrKeyFile says that the bytes are no whole key file of this version, or
	// that the slot of this very passphrase was altered.
	ErrKeyFile = errors.New("the key file is damaged or of another version")
	// ErrKeyFileParams says that the cost asked for is outside the bounds.
	ErrKeyFileParams = errors.New("the cost of the key file is out of bounds")
)

// KeyFileParams is the cost of one guess at a passphrase: the parameters of
// Argon2id (RFC 9106).
type KeyFileParams struct {
	MemoryKiB   uint32
	Time        uint8 // passes over the memory
	Parallelism uint8
}

// Bounds of KeyFileParams. The floor is what makes six words enough; the ceiling
// is what a file from elsewhere can make this device spend.
const (
	MinMemoryKiB   = 64 << 10
	MaxMemoryKiB   = 1 << 20
	MinTime        = 3
	MaxTime        = 20
	MaxParallelism = 8
)

// DefaultKeyFileParams returns 64 MiB, 3 passes, 1 lane.
func DefaultKeyFileParams() KeyFileParams {
	return KeyFileParams{MemoryKiB: MinMemoryKiB, Time: MinTime, Parallelism: 1}
}

func (p KeyFileParams) valid() bool {
	return p.MemoryKiB >= MinMemoryKiB && p.MemoryKiB <= MaxMemoryKiB &&
		p.Time >= MinTime && p.Time <= MaxTime && p.Parallelism >= 1 && p.Parallelism <= MaxParallelism
}

// SealKeyFile makes a key file of KeyFileSize bytes in which master is sealed
// under the passphrase, in a slot drawn by chance. The other slot holds random
// bytes. It keeps none of its arguments. Errors: ErrNewPassphrase,
// ErrKeyFileParams, or that of random.
func SealKeyFile(passphrase []byte, master MasterKey, params KeyFileParams, random io.Reader) ([]byte, error) {
	if !params.valid() {
		return nil, ErrKeyFileParams
	}
	if master.IsZero() {
		panic("identity: sealing no master key")
	}
	return sealKeyFile(passphrase, master, params, random)
}

// OpenKeyFile returns the master key that the passphrase opens. The cost, in time
// and memory, is that which the file states, and the same whichever slot fits or
// none. Errors: ErrPassphrase, ErrKeyFile.
func OpenKeyFile(file, passphrase []byte) (MasterKey, error) {
	if params, err := parseKeyFile(file); err != nil {
		return MasterKey{}, err
	} else if !params.valid() {
		return MasterKey{}, ErrKeyFile
	}
	_, master, err := openKeyFile(file, passphrase)
	return master, err
}

// ChangePassphrase returns a copy of the file in which the slot that opens under
// old opens under next instead. All else stays byte for byte, so that whoever
// uses the other slot is not locked out; hence salt and cost stay too. An older
// copy of the file still opens under old. Errors: ErrPassphrase, ErrKeyFile,
// ErrNewPassphrase, or that of random.
func ChangePassphrase(file, old, next []byte, random io.Reader) ([]byte, error) {
	if params, err := parseKeyFile(file); err != nil {
		return nil, err
	} else if !params.valid() {
		return nil, ErrKeyFile
	}
	return changePassphrase(file, old, next, random)
}

// The functions below do the work at any cost, which lets tests be fast; the
// bounds are enforced by the three above.

func sealKeyFile(passphrase []byte, master MasterKey, params KeyFileParams, random io.Reader) ([]byte, error) {
	normal, ok := normalPassphrase(passphrase)
	if !ok {
		return nil, ErrNewPassphrase
	}
	file := make([]byte, KeyFileSize)
	var choice [1]byte
	for _, b := range [][]byte{file[offSalt:offSum], choice[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("sealing the key file: %w", err)
		}
	}
	copy(file, keyFileMagic)
	file[len(keyFileMagic)] = keyFileVersion
	binary.BigEndian.PutUint32(file[offMemory:], params.MemoryKiB)
	file[offTime], file[offThreads] = params.Time, params.Parallelism
	// The nonce of the slot is the one that was just drawn with the rest.
	sealSlot(file, choice[0]&1, stretch(file, normal), master)
	sum := keyFileSum(file)
	copy(file[offSum:], sum[:])
	return file, nil
}

// openKeyFile returns the number of the slot that fits and what is in it.
func openKeyFile(file, passphrase []byte) (byte, MasterKey, error) {
	normal, ok := normalPassphrase(passphrase)
	if !ok {
		return 0, MasterKey{}, ErrPassphrase
	}
	return openSlots(file, stretch(file, normal))
}

func changePassphrase(file, old, next []byte, random io.Reader) ([]byte, error) {
	slot, master, err := openKeyFile(file, old)
	if err != nil {
		return nil, err
	}
	normal, ok := normalPassphrase(next)
	if !ok {
		return nil, ErrNewPassphrase
	}
	key := stretch(file, normal)
	// One passphrase for both slots would leave one of them unreachable.
	if other, _ := readSlot(file, 1-slot, key); other {
		return nil, ErrNewPassphrase
	}
	out := append([]byte(nil), file...)
	if _, err := io.ReadFull(random, slotNonce(out, slot)); err != nil {
		return nil, fmt.Errorf("changing the passphrase: %w", err)
	}
	sealSlot(out, slot, key, master)
	sum := keyFileSum(out)
	copy(out[offSum:], sum[:])
	return out, nil
}

// parseKeyFile checks all that can be checked without a passphrase, but not the
// bounds of the cost.
func parseKeyFile(file []byte) (KeyFileParams, error) {
	if len(file) != KeyFileSize || string(file[:len(keyFileMagic)]) != keyFileMagic ||
		file[len(keyFileMagic)] != keyFileVersion || file[offSalt-1] != 0 {
		return KeyFileParams{}, ErrKeyFile
	}
	if sum := keyFileSum(file); string(sum[:]) != string(file[offSum:]) {
		return KeyFileParams{}, ErrKeyFile
	}
	return statedParams(file), nil
}

func statedParams(file []byte) KeyFileParams {
	return KeyFileParams{
		MemoryKiB:   binary.BigEndian.Uint32(file[offMemory:]),
		Time:        file[offTime],
		Parallelism: file[offThreads],
	}
}

// keyFileSum tells damage from a wrong passphrase. It holds no key: whoever
// alters the file on purpose can compute it.
func keyFileSum(file []byte) [label.Size]byte { return label.Ref(label.KeyFileSum, file[:offSum]) }

// stretch is the one costly step, shared by both slots.
func stretch(file, normal []byte) []byte {
	p := statedParams(file)
	return argon2.IDKey(normal, file[offSalt:headerSize], uint32(p.Time), p.MemoryKiB, p.Parallelism, SeedSize)
}

func slotOf(file []byte, slot byte) []byte {
	at := headerSize + int(slot)*slotSize
	return file[at : at+slotSize]
}

func slotNonce(file []byte, slot byte) []byte {
	return slotOf(file, slot)[commitSize : commitSize+chacha20poly1305.NonceSizeX]
}

// slotKeys derives the commitment to key and the key of the slot's ciphertext.
// XChaCha20-Poly1305 alone lets one ciphertext open under several keys, which
// would let a crafted file test many passphrases at once; the commitment, compared
// first, does not.
func slotKeys(file []byte, slot byte, key []byte) (commit, wrap, bound []byte) {
	bound = append(append([]byte(nil), file[:headerSize]...), slot)
	context := append(append([]byte(nil), bound...), slotNonce(file, slot)...)
	return label.Expand(key, label.SlotCommit, context, commitSize),
		label.Expand(key, label.SlotWrap, context, chacha20poly1305.KeySize), bound
}

func sealSlot(file []byte, slot byte, key []byte, master MasterKey) {
	commit, wrap, bound := slotKeys(file, slot, key)
	box, nonce, plain := slotOf(file, slot), slotNonce(file, slot), master.reveal()
	copy(box, commit)
	newAEAD(wrap).seal(box[commitSize+chacha20poly1305.NonceSizeX:], nonce, plain[:], bound)
}

// openSlots tries the key against both slots, always both.
func openSlots(file, key []byte) (byte, MasterKey, error) {
	var fits [slotCount]bool
	var found [slotCount][]byte
	for slot := range byte(slotCount) {
		fits[slot], found[slot] = readSlot(file, slot, key)
	}
	for slot := range byte(slotCount) {
		if !fits[slot] {
			continue
		}
		if found[slot] == nil {
			return 0, MasterKey{}, ErrKeyFile
		}
		return slot, MasterKeyFromBytes([SeedSize]byte(found[slot])), nil
	}
	return 0, MasterKey{}, ErrPassphrase
}

// readSlot says whether the slot commits to key, and what is in it; nil where
// the ciphertext was altered.
func readSlot(file []byte, slot byte, key []byte) (fits bool, plain []byte) {
	commit, wrap, bound := slotKeys(file, slot, key)
	box := slotOf(file, slot)
	fits = subtle.ConstantTimeCompare(commit, box[:commitSize]) == 1
	return fits, newAEAD(wrap).open(box[commitSize+chacha20poly1305.NonceSizeX:], slotNonce(file, slot), bound)
}
