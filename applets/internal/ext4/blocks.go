package ext4

// blocks writes to a file what comes in blocks, most of them one after another, in large pieces.
type blocks struct {
	f   File
	buf []byte // whole blocks
	at  int64  // the first of them
}

// Bytes: of the buffer, and of what is written without it.
const (
	bufferSize = 512 << 10
	large      = 64 << 10
)

func newBlocks(f File) blocks { return blocks{f: f, buf: make([]byte, 0, bufferSize)} }

// write writes p to a block and those after it; zeros fill the last.
func (b *blocks) write(block int64, p []byte) error {
	if block != b.at+int64(len(b.buf)/BlockSize) || len(b.buf)+len(p) > cap(b.buf)-BlockSize || len(p) >= large {
		if err := b.flush(); err != nil {
			return err
		}
		b.at = block
	}
	if whole := len(p) &^ (BlockSize - 1); whole >= large {
		if err := b.writeAt(p[:whole], block*BlockSize); err != nil {
			return err
		}
		p = p[whole:]
		b.at += int64(whole / BlockSize)
	}
	b.buf = append(b.buf, p...)
	b.buf = append(b.buf, zeroBlock[:-len(p)&(BlockSize-1)]...)
	return nil
}

func (b *blocks) flush() error {
	err := b.writeAt(b.buf, b.at*BlockSize)
	b.at += int64(len(b.buf) / BlockSize)
	b.buf = b.buf[:0]
	return err
}

func (b *blocks) writeAt(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := b.f.WriteAt(p, off)
	return err
}

// blocksFor is how many blocks hold size bytes.
func blocksFor(size int64) int64 { return (size + BlockSize - 1) / BlockSize }
