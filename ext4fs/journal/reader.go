package journal

import "context"

// readAhead bounds the buffer of a reader, in bytes.
const readAhead = 256 << 10

// reader reads log blocks one after the other. It reads ahead once it is asked
// for consecutive ones; it is not safe for concurrent use.
type reader struct {
	ctx   context.Context
	log   Log
	bs    int
	end   uint32 // no reading ahead of this
	buf   []byte
	first uint32 // log block at buf[0]
	n     uint32 // blocks in buf
	want  uint32 // blocks to read at the next miss, if consecutive
}

func newReader(ctx context.Context, log Log, blockSize int, end uint32) *reader {
	return &reader{ctx: ctx, log: log, bs: blockSize, end: end, want: 1}
}

// block returns log block n. The bytes are valid until the next call.
func (r *reader) block(n uint32) ([]byte, error) {
	if i := n - r.first; n >= r.first && i < r.n {
		return r.buf[int(i)*r.bs:][:r.bs], nil
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	if r.n > 0 && n == r.first+r.n {
		r.want = min(2*r.want, uint32(readAhead/r.bs))
	} else {
		r.want = 1
	}
	k := uint32(1)
	if n < r.end {
		k = min(r.want, r.end-n)
	}
	r.n = 0
	if need := int(k) * r.bs; cap(r.buf) < need {
		r.buf = make([]byte, need)
	}
	err := r.log.ReadBlocks(n, r.buf[:int(k)*r.bs])
	if err != nil && k > 1 {
		// One of the later blocks may be the bad one.
		k = 1
		err = r.log.ReadBlocks(n, r.buf[:r.bs])
	}
	if err != nil {
		return nil, err
	}
	r.first, r.n = n, k
	return r.buf[:r.bs], nil
}
