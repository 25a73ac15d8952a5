package tree

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrDigest: content is not what its digest says. It also matches
// disk.ErrCorrupt.
var ErrDigest = disk.NewKind("the content does not have its digest", disk.ErrCorrupt)

// DigestError says which content of an image is not what the image says. It
// matches ErrDigest.
type DigestError struct {
	Want, Got string // digests, "sha256:..."
	// WantSize and Size are lengths in bytes; WantSize is negative if it is
	// not known.
	WantSize, Size int64
}

func (e *DigestError) Error() string {
	if e.WantSize >= 0 && e.WantSize != e.Size {
		return fmt.Sprintf("content of %s: %d bytes, not %d", e.Want, e.Size, e.WantSize)
	}
	return fmt.Sprintf("content of %s has the digest %s", e.Want, e.Got)
}

// Unwrap returns ErrDigest.
func (e *DigestError) Unwrap() error { return ErrDigest }

// digest is "ALGORITHM:HEX", checked.
type digest string

// parseDigest takes the algorithms that the OCI image specification has
// registered for all to know.
func parseDigest(s string) (digest, error) {
	name, text, _ := strings.Cut(s, ":")
	size := map[string]int{"sha256": sha256.Size, "sha512": sha512.Size}[name]
	if size == 0 {
		return "", fmt.Errorf("digest %q: %w", excerpt(s), disk.ErrUnsupported)
	}
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != size || text != strings.ToLower(text) {
		return "", fmt.Errorf("digest %q: %w", excerpt(s), ErrSyntax)
	}
	return digest(s), nil
}

func (d digest) algorithm() string { name, _, _ := strings.Cut(string(d), ":"); return name }

// path is where the content is in an image layout.
func (d digest) path() string { return "blobs/" + strings.Replace(string(d), ":", "/", 1) }

// verifier takes the digest of what is written to it.
type verifier struct {
	hash hash.Hash
	n    int64
	want digest
	size int64 // negative: not known
}

func newVerifier(want digest, size int64) *verifier {
	v := &verifier{want: want, size: size, hash: sha256.New()}
	if want.algorithm() == "sha512" {
		v.hash = sha512.New()
	}
	return v
}

// Write never fails.
func (v *verifier) Write(p []byte) (int, error) {
	v.n += int64(len(p))
	return v.hash.Write(p)
}

// check is a *DigestError if what was written is not what was wanted.
func (v *verifier) check() error {
	got := v.want.algorithm() + ":" + hex.EncodeToString(v.hash.Sum(nil))
	if got == string(v.want) && (v.size < 0 || v.size == v.n) {
		return nil
	}
	return &DigestError{Want: string(v.want), Got: got, WantSize: v.size, Size: v.n}
}

// excerpt is what of a long text goes into a message.
func excerpt(s string) string {
	if len(s) > 256 {
		return s[:256] + "..."
	}
	return s
}
