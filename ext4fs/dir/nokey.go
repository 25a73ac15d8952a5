package dir

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The no-key form of an encrypted name is base64url, without padding, of
//
//	le32 hash, le32 minor hash, ciphertext
//
// or, for ciphertext of more than 149 bytes, of
//
//	le32 hash, le32 minor hash, 149 bytes of ciphertext, SHA-256 of its rest

const (
	noKeyHead  = 8
	noKeyPlain = 149
	noKeyMax   = noKeyHead + noKeyPlain + sha256.Size
)

var noKeyEncoding = base64.RawURLEncoding.Strict()

// NoKeyName is how the kernel shows an encrypted name without having the key.
// The hashes are those of Entry; symbolic link targets have none (0).
func NoKeyName(name []byte, hash, minor uint32) string {
	if hash == 0 {
		minor = 0 // so does the kernel: 0 stands for unknown
	}
	var buf [noKeyMax]byte
	binary.LittleEndian.PutUint32(buf[0:], hash)
	binary.LittleEndian.PutUint32(buf[4:], minor)
	n := noKeyHead + copy(buf[noKeyHead:noKeyHead+noKeyPlain], name)
	if len(name) > noKeyPlain {
		sum := sha256.Sum256(name[noKeyPlain:])
		n += copy(buf[n:], sum[:])
	}
	return noKeyEncoding.EncodeToString(buf[:n])
}

// DisplayName is the name by which an entry is shown and looked up: the name
// itself, or its no-key form in an encrypted directory.
func (c *Config) DisplayName(e Entry) string {
	if !c.Encrypted || isDots(e.Name) {
		return string(e.Name)
	}
	return NoKeyName(e.Name, e.Hash, e.Minor)
}

// noKey is a decoded no-key name.
type noKey struct {
	hash, minor uint32
	name        []byte // the ciphertext, or the start of it
	rest        []byte // SHA-256 of the rest; nil when name is all
}

// decodeNoKey decodes a no-key name into buf. Not every byte string is one.
func decodeNoKey(name []byte, buf *[noKeyMax]byte) (k noKey, ok bool) {
	// The decoder skips line breaks.
	if len(name) > noKeyEncoding.EncodedLen(noKeyMax) || bytes.ContainsAny(name, "\r\n") {
		return k, false
	}
	n, err := noKeyEncoding.Decode(buf[:], name)
	if err != nil || n <= noKeyHead || n > noKeyHead+noKeyPlain && n != noKeyMax {
		return k, false
	}
	k.hash, k.minor = binary.LittleEndian.Uint32(buf[0:]), binary.LittleEndian.Uint32(buf[4:])
	k.name = buf[noKeyHead:min(n, noKeyHead+noKeyPlain)]
	if n == noKeyMax {
		k.rest = buf[noKeyHead+noKeyPlain:]
	}
	return k, true
}

func (k *noKey) match(name []byte) bool {
	if k.rest == nil {
		return bytes.Equal(name, k.name)
	}
	if len(name) <= noKeyPlain || !bytes.Equal(name[:noKeyPlain], k.name) {
		return false
	}
	sum := sha256.Sum256(name[noKeyPlain:])
	return bytes.Equal(sum[:], k.rest)
}

// noKeyHash is the hash to look a no-key name up by in an index.
func (c *Config) noKeyHash(k *noKey, v disk.HashVersion) uint32 {
	if c.Casefold || k.rest != nil {
		return k.hash &^ 1
	}
	h, _ := c.hashName(v, k.name)
	return h
}
