// Package verity checks files with fs-verity: where the hash tree and the
// descriptor lie behind a file's content, what the descriptor says, and
// whether content and tree fit it. It needs nothing but an io.ReaderAt over
// the file's logical blocks, those beyond its size included, and the
// extents' end.
//
// Two questions are answered in one pass. Whether the stored tree and the
// content fit together up to the root hash, block by block, is what the kernel
// asks when it reads a verity file; what fails is told by place. What root
// hash the content alone gives, with a tree computed anew, tells whether the
// content or only its tree is damaged.
//
// Signatures are not checked: the keys are not in the image.
package verity
