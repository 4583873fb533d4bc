package label

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

const mlsPrefix = "MLS 1.0 "

// hexBytes is a string of hex in a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type cryptoBasics struct {
	Suite   int `json:"cipher_suite"`
	RefHash struct {
		Label      string
		Out, Value hexBytes
	} `json:"ref_hash"`
	Expand struct {
		Label                string
		Secret, Context, Out hexBytes
		Length               int
	} `json:"expand_with_label"`
	Derive struct {
		Label       string
		Secret, Out hexBytes
	} `json:"derive_secret"`
	DeriveTree struct {
		Label       string
		Secret, Out hexBytes
		Generation  uint32
		Length      int
	} `json:"derive_tree_secret"`
	Sign struct {
		Label                         string
		Priv, Pub, Content, Signature hexBytes
	} `json:"sign_with_label"`
	Encrypt struct {
		Label                         string
		Priv, Pub, Context, Plaintext hexBytes
		KemOutput                     hexBytes `json:"kem_output"`
		Ciphertext                    hexBytes
	} `json:"encrypt_with_label"`
}

// published reads a published vector file. Where the vectors are not there the
// test is skipped, but never in CI.
func published(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("PALABRE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors") // beside the project
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skipf("no published vectors: set PALABRE_VECTORS to a folder that holds %s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPublishedVectors checks all labelled functions against the MLS working
// group's crypto-basics, cipher suite 3, with the prefix of MLS.
func TestPublishedVectors(t *testing.T) {
	var all []cryptoBasics
	if err := json.Unmarshal(published(t, "mls/crypto-basics.json"), &all); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, v := range all {
		if v.Suite != 3 { // X25519, ChaCha20-Poly1305, SHA-256, Ed25519
			continue
		}
		checked++
		if got := expand(mlsPrefix, v.Expand.Secret, Label(v.Expand.Label), v.Expand.Context, v.Expand.Length); !bytes.Equal(got, v.Expand.Out) {
			t.Errorf("expand: %x", got)
		}
		if got := expand(mlsPrefix, v.Derive.Secret, Label(v.Derive.Label), nil, Size); !bytes.Equal(got, v.Derive.Out) {
			t.Errorf("derive: %x", got)
		}
		generation := binary.BigEndian.AppendUint32(nil, v.DeriveTree.Generation)
		if got := expand(mlsPrefix, v.DeriveTree.Secret, Label(v.DeriveTree.Label), generation, v.DeriveTree.Length); !bytes.Equal(got, v.DeriveTree.Out) {
			t.Errorf("derive tree: %x", got)
		}
		// RFC 9420 section 5.2 puts no prefix of its own before this label.
		if got := sha256.Sum256(transcript("", Label(v.RefHash.Label), v.RefHash.Value)); !bytes.Equal(got[:], v.RefHash.Out) {
			t.Errorf("ref hash: %x", got)
		}
		signed := transcript(mlsPrefix, Label(v.Sign.Label), v.Sign.Content)
		if !ed25519.Verify(ed25519.PublicKey(v.Sign.Pub), signed, v.Sign.Signature) {
			t.Error("the published signature does not hold")
		}
		if got := ed25519.Sign(ed25519.NewKeyFromSeed(v.Sign.Priv), signed); !bytes.Equal(got, v.Sign.Signature) {
			t.Errorf("signature: %x", got)
		}
		checkSealed(t, v)
	}
	if checked == 0 {
		t.Fatal("no vector of cipher suite 3 in the file")
	}
}

func checkSealed(t *testing.T, v cryptoBasics) {
	t.Helper()
	e := v.Encrypt
	kem := hpke.DHKEM(ecdh.X25519())
	priv, err := kem.NewPrivateKey(e.Priv)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(priv.PublicKey().Bytes(), e.Pub) {
		t.Error("the public key does not follow from the private key")
	}
	info := transcript(mlsPrefix, Label(e.Label), e.Context)
	open := func(info []byte) ([]byte, error) {
		return hpke.Open(priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, append(bytes.Clone(e.KemOutput), e.Ciphertext...))
	}
	if got, err := open(info); err != nil || !bytes.Equal(got, e.Plaintext) {
		t.Errorf("opening the published box: %x, %v", got, err)
	}
	if _, err := open(transcript(prefix, Label(e.Label), e.Context)); err == nil {
		t.Error("the box opens under another prefix")
	}
	box, err := hpke.Seal(priv.PublicKey(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, e.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, box); err != nil || !bytes.Equal(got, e.Plaintext) {
		t.Errorf("sealing and opening: %x, %v", got, err)
	}
}
