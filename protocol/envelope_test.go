package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
)

func envelopeOf(bucket int) Envelope {
	return Envelope{Version: Version, Mailbox: MailboxID{1}, Nonce: [24]byte{2}, Ciphertext: make([]byte, bucket-65)}
}

func TestBucketsAndRooms(t *testing.T) {
	for bucket, room := range map[int]int{2_048: 1_967, 16_384: 16_303, 65_536: 65_455} {
		b := envelopeOf(bucket).Marshal()
		if len(b) != bucket || bucket-room != 65+16 {
			t.Errorf("bucket %d: encoded in %d bytes", bucket, len(b))
		}
		if e, err := ParseEnvelope(b); err != nil || !bytes.Equal(e.Marshal(), b) || Check(b) != Accept {
			t.Errorf("bucket %d: %v", bucket, err)
		}
		if RoomFor(room) != room || RoomFor(room+1) == room {
			t.Errorf("bucket %d: room is not %d", bucket, room)
		}
	}
	for n, want := range map[int]int{0: RoomSmall, 1: RoomSmall, RoomSmall + 1: RoomMedium, RoomMedium + 1: RoomLarge, MaxRoom + 1: 0} {
		if got := RoomFor(n); got != want {
			t.Errorf("room for %d is %d, want %d", n, got, want)
		}
	}
}

func TestMalformedEnvelopes(t *testing.T) {
	good := envelopeOf(BucketSmall).Marshal()
	wrong := envelopeOf(BucketSmall)
	wrong.Version = 2
	short := envelopeOf(BucketSmall)
	short.Ciphertext = short.Ciphertext[1:]
	for name, bad := range map[string][]byte{
		"nothing": {}, "version 2": wrong.Marshal(), "a byte less": good[1:], "a byte more": append(bytes.Clone(good), 0),
		"between buckets": envelopeOf(4_096).Marshal(), "filled up behind": append(short.Marshal(), 0),
		"beyond the largest": make([]byte, BucketLarge+1), "zeros": make([]byte, BucketSmall),
	} {
		if _, err := ParseEnvelope(bad); !errors.Is(err, ErrEnvelope) || Check(bad) != Reject {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvelopeID(t *testing.T) {
	b := envelopeOf(BucketSmall).Marshal()
	id := IDOf(b)
	if id != sha256.Sum256(b) {
		t.Error("the id is not the SHA-256 of the bytes")
	}
	for i := range b {
		b[i] ^= 1
		if IDOf(b) == id {
			t.Fatalf("byte %d does not change the id", i)
		}
		b[i] ^= 1
	}
}

func TestEnvelopeDoesNotAlias(t *testing.T) {
	b := envelopeOf(BucketSmall).Marshal()
	e, err := ParseEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if e.Ciphertext[len(e.Ciphertext)-1] != 0 {
		t.Error("the ciphertext lies in the given bytes")
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(envelopeOf(BucketSmall).Marshal()[:70], BucketSmall)
	f.Add([]byte{0x84, 2}, BucketMedium)
	f.Fuzz(func(t *testing.T, start []byte, size int) {
		// Sizes other than the buckets' are refused at once, so fill up to one.
		b := start
		if size == BucketSmall || size == BucketMedium || size == BucketLarge {
			b = make([]byte, size)
			copy(b, start)
		}
		e, err := ParseEnvelope(b)
		if (err == nil) != (Check(b) == Accept) || err != nil && !errors.Is(err, ErrEnvelope) {
			t.Fatal(err)
		}
		if err == nil && !bytes.Equal(e.Marshal(), b) {
			t.Fatal("what parses does not encode to the same bytes")
		}
	})
}
