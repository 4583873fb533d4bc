package identity

import (
	"bytes"
	"testing"
)

func TestCertSizeAndRefusals(t *testing.T) {
	m, d := MemberKeyFromSeed([32]byte{1}), DeviceKeyFromSeed([32]byte{2})
	ctx := [32]byte{9}
	b := Certify(ctx, m, d).Marshal()
	if len(b) != CertSize {
		t.Fatalf("certificate has %d bytes, want %d", len(b), CertSize)
	}
	if _, err := ParseCert(b, ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCert(b, [32]byte{8}); err == nil {
		t.Error("a certificate of another group was accepted")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := ParseCert(bad, ctx); err == nil {
			t.Fatalf("byte %d changed and the certificate was accepted", i)
		}
	}
}

func FuzzCert(f *testing.F) {
	ctx := [32]byte{9}
	f.Add(Certify(ctx, MemberKeyFromSeed([32]byte{1}), DeviceKeyFromSeed([32]byte{2})).Marshal())
	f.Add([]byte{0x85, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCert(b, ctx); err == nil && !bytes.Equal(c.Marshal(), b) {
			t.Fatal("what parses does not encode to the same bytes")
		} else if err != nil && err != ErrCert {
			t.Fatal(err)
		}
	})
}
