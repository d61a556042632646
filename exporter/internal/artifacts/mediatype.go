package artifacts

import (
	"debug/elf"
	"encoding/binary"
	"net/http"
	"path"
	"strings"
)

// sniffLength is as much of a file's beginning as mediaType looks at.
const sniffLength = 512

// byExtension is our own and not the machine's, so that the manifest is the same everywhere. IANA's names where there are
// some (https://www.iana.org/assignments/media-types).
var byExtension = map[string]string{
	".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".html": "text/html; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".log": "text/plain; charset=utf-8",
	".md": "text/markdown; charset=utf-8", ".pdf": "application/pdf", ".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8", ".wasm": "application/wasm", ".xml": "application/xml", ".yaml": "application/yaml",
	".yml": "application/yaml", ".gz": "application/gzip", ".tgz": "application/gzip", ".zip": "application/zip",
	".zst": "application/zstd", ".xz": "application/x-xz", ".bz2": "application/x-bzip2", ".tar": "application/x-tar",
	".jar": "application/java-archive", ".whl": "application/zip", ".rpm": "application/x-rpm",
	".deb": "application/vnd.debian.binary-package", ".sig": "application/octet-stream", ".a": "application/x-archive",
}

// mediaType looks at the content first where that is certain (ELF), then at the extension, then guesses.
func mediaType(name string, head []byte, executable bool) string {
	if len(head) >= 20 && string(head[:4]) == elf.ELFMAG {
		return elfType(head, executable && !strings.Contains(path.Base(name), ".so"))
	}
	if known, ok := byExtension[strings.ToLower(path.Ext(name))]; ok {
		return known
	}
	return http.DetectContentType(head)
}

// elfType names ELF files as shared-mime-info does.
func elfType(head []byte, program bool) string {
	order := binary.ByteOrder(binary.LittleEndian)
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	switch elf.Type(order.Uint16(head[16:])) {
	case elf.ET_EXEC:
		return "application/x-executable"
	case elf.ET_DYN:
		if program {
			return "application/x-pie-executable"
		}
		return "application/x-sharedlib"
	case elf.ET_REL:
		return "application/x-object"
	case elf.ET_CORE:
		return "application/x-core"
	}
	return "application/octet-stream"
}
