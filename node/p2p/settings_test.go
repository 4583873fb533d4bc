package p2p

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/libp2p/go-libp2p/gologshim"
)

// The variable is libp2p's own, recognised by what only libp2p sets, and has
// our settings.
func TestQUICSettings(t *testing.T) {
	if err := quicSettings(); err != nil {
		t.Fatal(err)
	}
	if quicConfig.MaxIncomingStreams != 256 || !quicConfig.EnableDatagrams || quicConfig.MaxStreamReceiveWindow != 10<<20 {
		t.Fatal("this is not libp2p's variable any more")
	}
	if !quicConfig.DisablePathMTUDiscovery || quicConfig.KeepAlivePeriod != quicKeepAlive || quicConfig.MaxIdleTimeout != quicIdle {
		t.Fatal("the settings are not made")
	}
}

// libp2p's loggers write nothing. A child process runs them, since the test's
// own standard error is not ours to look at.
func TestLibp2pIsQuiet(t *testing.T) {
	if os.Getenv("P2P_TEST_LOG") == "1" {
		gologshim.Logger("swarm2").Error("loud")
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run=^TestLibp2pIsQuiet$")
	c.Env = append(os.Environ(), "P2P_TEST_LOG=1", "GOLOG_LOG_LEVEL=debug")
	var said bytes.Buffer
	c.Stderr, c.Stdout = &said, io.Discard
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if said.Len() > 0 {
		t.Fatalf("standard error: %s", said.Bytes())
	}
}
