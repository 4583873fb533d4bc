package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// certificate makes one that nobody vouches for, and returns its two files.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, secret.Public(), secret)
	must(t, err)
	own, err := x509.MarshalPKCS8PrivateKey(secret)
	must(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: own}), 0o600))
	return cert, key
}

// A letter carrier that looks like a page of the web. Nothing on the way to it says what
// it is.
func TestLetterCarrierOnTheWeb(t *testing.T) {
	t.Parallel()
	place := place(t)
	p := stranger(t, place, "Carrier")
	cert, key := certificate(t, place)
	at := p.ferries(t, "--dir", filepath.Join(place, "letters"), "--listen", "/ip4/127.0.0.1/tcp/0/tls/ws", "--tls-cert", cert, "--tls-key", key).Addrs[0]
	if !strings.HasPrefix(at, "/ip4/127.0.0.1/tcp/") || !strings.Contains(at, "/tls/ws/p2p/") {
		t.Fatal(at)
	}
	wire := listenIn(t)
	if got, _ := leaves(t, at, nil, 1, 2, 3); !slices.Equal(got, []rules.Outcome{rules.Kept, rules.Kept, rules.Kept}) {
		t.Errorf("letters were answered by %v", got)
	}
	must(t, p.running.end(syscall.SIGTERM, p.patience))
	p.running = nil
	if wire == nil {
		return
	}
	var port, heard uint64
	fmt.Sscanf(at, "/ip4/127.0.0.1/tcp/%d", &port)
	for f, b := range wire.finish(t) {
		if uint64(f.from) != port && uint64(f.to) != port {
			continue
		}
		heard += uint64(len(b))
		for _, telling := range []string{"multistream", "noise", "libp2p", "palabre", "ferry", "12D3"} {
			if bytes.Contains(b, []byte(telling)) {
				t.Errorf("%q is said in the clear", telling)
			}
		}
	}
	if heard < 4096 {
		t.Errorf("%d bytes went there and back", heard)
	}
}
