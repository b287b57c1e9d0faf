package loader

import (
	"bytes"
	"encoding/binary"
)

// Layout of /etc/ld.so.cache as ldconfig(8) writes it, by glibc's dl-cache.h. An older format may stand before it.
const (
	cacheMagic  = "glibc-ld.so.cache1.1"
	cacheHeader = 48 // bytes: magic 20, number of entries 4, size of strings 4, byte order 1, reserved
	cacheEntry  = 24 // flags 4, name 4, path 4, OS version 4, hardware capabilities 8
	cacheBig    = 3  // byte order; 0 before glibc 2.33

	maxCache = 4 << 20 // of thousands of libraries, it has some 100 KiB
)

// hwcapTLS marks libraries for threads as glibc 2.3 had them, and says nothing of a processor.
const hwcapTLS = 1 << 63

// parseCache returns the paths of libraries by their names, in the order in which they are to be tried; nil for another
// format. Libraries for some processors only are left out: what is found here is to run elsewhere, too.
func parseCache(text []byte) map[string][]string {
	text = text[max(0, bytes.Index(text, []byte(cacheMagic))):]
	if len(text) < cacheHeader || !bytes.HasPrefix(text, []byte(cacheMagic)) {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	n, most := order.Uint32(text[20:]), uint32(len(text)-cacheHeader)/cacheEntry
	if text[28] == cacheBig || text[28] == 0 && n > most {
		order = binary.BigEndian
		n = order.Uint32(text[20:])
	}
	if n > most {
		return nil
	}
	found := map[string][]string{}
	for entry := text[cacheHeader:]; n > 0; n-- {
		name, path := cacheString(text, order.Uint32(entry[4:])), cacheString(text, order.Uint32(entry[8:]))
		if order.Uint64(entry[16:])&^hwcapTLS == 0 {
			found[name] = append(found[name], path)
		}
		entry = entry[cacheEntry:]
	}
	return found
}

// cacheString is the string at an offset, or "", which is no library's name or path.
func cacheString(text []byte, at uint32) string {
	text = text[min(int(at), len(text)):]
	return string(text[:max(0, bytes.IndexByte(text[:min(maxPath, len(text))], 0))])
}
