package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// masked feeds a text in pieces of at most so many bytes.
func masked(m *Masker, text string, size int) string {
	var out strings.Builder
	for len(text) > 0 {
		n := min(size, len(text))
		out.Write(m.Next([]byte(text[:n])))
		text = text[n:]
	}
	out.Write(m.End())
	return out.String()
}

func wrapped(text string, width int, end string) string {
	var out strings.Builder
	for len(text) > width {
		out.WriteString(text[:width] + end)
		text = text[width:]
	}
	return out.String() + text
}

const secret = `p@ss w/o "quotes"+ü&<1>`

func TestEveryFormInEveryCut(t *testing.T) {
	quoted, _ := json.Marshal(secret)
	for name, test := range map[string]struct{ text, wanted string }{
		"plain":               {"a " + secret + " b\n", "a *** b\n"},
		"twice":               {secret + " " + secret, "*** ***"},
		"joined":              {secret + secret, "***"},
		"JSON":                {`{"x":` + string(quoted) + `}`, `{"x":"***"}`},
		"query":               {"?x=" + url.QueryEscape(secret) + "&y", "?x=***&y"},
		"path":                {"/" + url.PathEscape(secret) + "/", "/***/"},
		"query in lower case": {"?x=" + lowerHex(url.QueryEscape(secret)) + "&y", "?x=***&y"},
		"encodeURIComponent":  {"=p%40ss%20w%2Fo%20%22quotes%22%2B%C3%BC%26%3C1%3E;", "=***;"},
		"encodeURI":           {"=p@ss%20w/o%20%22quotes%22+%C3%BC&%3C1%3E;", "=***;"},
		"base64":              {"x: " + base64.StdEncoding.EncodeToString([]byte(secret)) + "\n", "x: ***\n"},
		"base64url":           {"x: " + base64.RawURLEncoding.EncodeToString([]byte(secret)) + "\n", "x: ***\n"},
		"almost":              {secret[:len(secret)-1] + "\n" + secret[1:], secret[:len(secret)-1] + "\n" + secret[1:]},
		"at the end, cut":     {"x " + secret[:len(secret)-1], "x " + secret[:len(secret)-1]},
	} {
		for size := 1; size <= len(test.text)+1; size++ {
			if got := masked(New(Of(secret)), test.text, size); got != test.wanted {
				t.Fatalf("%s in pieces of %d: %q instead of %q", name, size, got, test.wanted)
			}
		}
	}
}

// Nothing of a value can be read from a base64 text, wherever in it the value is, and however its lines are broken.
func TestBase64AtEveryPlace(t *testing.T) {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		for before := range 5 {
			for after := range 4 {
				plain := strings.Repeat("<", before) + "hunter2-Zug>?" + strings.Repeat("y", after)
				encoded := encoding.EncodeToString([]byte(plain))
				for width := 1; width <= len(encoded); width++ {
					for _, end := range []string{"\n", "\r\n"} {
						text := "[" + wrapped(encoded, width, end) + "]"
						for _, size := range []int{1, 2, 3, 5, 1000} {
							got := masked(New(Of("hunter2-Zug>?")), text, size)
							left := strings.NewReplacer("[", "", "]", "", "***", "", "\n", "", "\r", "", "=", "").Replace(got)
							// What is left are the characters of what is around it.
							if !strings.Contains(got, "***") || len(left) > 2*(before+after) {
								t.Fatalf("%d before, %d after, width %d, pieces of %d: %q of %q", before, after, width, size, got, text)
							}
							if width > 4 && !onlyNeighbours(left, encoding.EncodeToString([]byte(plain)), before, after, width) {
								t.Fatalf("%q is left of %q", left, encoded)
							}
						}
					}
				}
			}
		}
	}
}

// onlyNeighbours: what is left are the characters that hold nothing of the secret, and perhaps the one before it, which has
// four bits of it, if a line ends there: it is not held back so long.
func onlyNeighbours(left, encoded string, before, after, width int) bool {
	head, tail := 8*before/6, 8*after/6+3
	if (head+1)%width == 0 && head < len(left) && before%3 != 0 && left[:head+1] == encoded[:head+1] {
		head++
	}
	trimmed := strings.TrimPrefix(left, encoded[:head])
	return len(left)-len(trimmed) == head && len(trimmed) <= tail && strings.HasSuffix(strings.TrimRight(encoded, "="), trimmed)
}

func TestLines(t *testing.T) {
	value := "-----first line-----\nsecond line\nend\nabc"
	for text, wanted := range map[string]string{
		value + "\n": "***\n",
		strings.ReplaceAll(value, "\n", "\r\n") + "!":    "***!",
		"  -----first line-----\n  second line\n  end\n": "  ***\n  ***\n  end\n",
		"key: second line, end":                          "key: ***, end",
		`"-----first line-----\nsecond line\nend\nabc"`:  `"***"`,
		base64.StdEncoding.EncodeToString([]byte(value)): "***",
	} {
		for _, size := range []int{1, 3, 1000} {
			if got := masked(New(Of(value)), text, size); got != wanted {
				t.Errorf("%q instead of %q", got, wanted)
			}
		}
	}
}

func TestOverlaps(t *testing.T) {
	for text, wanted := range map[string]string{
		"abcdefghijkl":             "***",
		"xabcdefx":                 "x***x",
		"abcdefghabcdef":           "***gh***",
		strings.Repeat("z", 10000): "***",
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			if got := masked(New(Of("abcdef", "efghijkl", "zzzzzz")), text, size); got != wanted {
				t.Errorf("%q instead of %q", got, wanted)
			}
		}
	}
}

// A value that is longer than what is held back.
func TestLongValue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 30_000)
	for i := range value {
		value[i] = byte('!' + random.IntN(90))
	}
	for _, text := range []string{
		string(value), url.QueryEscape(string(value)), base64.StdEncoding.EncodeToString(value),
		wrapped(base64.StdEncoding.EncodeToString(append([]byte("xyz"), value...))[4:], 76, "\n"),
	} {
		m := New(Of(string(value)))
		if got := masked(m, "a "+text+" b", 4096); strings.ReplaceAll(got, "***\n", "") != "a *** b" {
			t.Errorf("%d bytes are left: %.200q", len(got), got)
		}
		if cap(m.held) > 64<<10 {
			t.Errorf("%d bytes were held back", cap(m.held))
		}
	}
}

// Tokens that nobody has: each has the right shape, and nothing else.
func TestTokens(t *testing.T) {
	letters := strings.Repeat("aB3dE5gH7j", 40)
	upper := strings.Repeat("AB3DE5GH7J", 4)
	hash := strings.Repeat("aB3/E5+H7j", 5)[:43]
	header := "eyJhbGciOiJSUzI1NiJ9"
	key := "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat(letters[:64]+"\n", 20) + letters[:20] + "==\n-----END RSA PRIVATE KEY-----"
	tokens := map[string]string{
		"ghp_" + letters[:36]:                                               "***",
		"gho_" + letters[:36]:                                               "***",
		"ghs_" + letters[:36]:                                               "***",
		"github_pat_" + letters[:82]:                                        "***",
		"glpat-" + letters[:20]:                                             "***",
		"AKIA" + upper[:16]:                                                 "***",
		"npm_" + letters[:36]:                                               "***",
		"AIza" + letters[:35]:                                               "***",
		"sk_live_" + letters[:24]:                                           "***",
		"xoxb-1234567890-" + letters[:24]:                                   "***",
		"sig=" + url.QueryEscape(hash+"="):                                  "sig=***",
		"AccountKey=" + hash + hash + "==":                                  "AccountKey=***",
		"aws_secret_access_key = " + letters[:40]:                           "aws_secret_access_key = ***",
		`"SecretAccessKey": "` + letters[:40] + `"`:                         `"SecretAccessKey": "***"`,
		header + ".eyJ" + letters[:100] + "." + letters[:86]:                "***",
		header + ".eyJ" + strings.Repeat(letters, 100) + "." + letters[:86]: "***",
		key:                                   "***",
		strings.ReplaceAll(key, "\n", `\n`):   "***",
		strings.ReplaceAll(key, "\n", "\r\n"): "***",
		url.QueryEscape(key):                  "***",
		strings.ReplaceAll(url.QueryEscape(key), "+", "%20"): "***",
		key[:500]: "***",
	}
	for _, token := range slices.Sorted(maps.Keys(tokens)) {
		wanted := tokens[token]
		for _, size := range []int{1, 2, 7, 63, 4096, 1 << 20} {
			for _, around := range [][2]string{{"", ""}, {"x: ", "\nmore\n"}, {`"`, `"`}, {"(", ")"}} {
				text, want := around[0]+token+around[1], around[0]+wanted+around[1]
				if strings.HasSuffix(wanted, `"`) && around[0] == `"` || size < 63 && len(token) > 600 && around[0] != "" {
					continue
				}
				if got := masked(New(Secrets{}), text, size); got != want {
					t.Fatalf("pieces of %d: %.120q instead of %.120q (of %.80q)", size, got, want, text)
				}
			}
		}
		// And in base64, at every place, in one line or in many.
		if strings.Contains(wanted, "=") || strings.Contains(wanted, `"`) || strings.Contains(token, "%") {
			continue
		}
		for before := range 4 {
			encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + token + "\n"))
			for _, text := range []string{encoded, wrapped(encoded, 76, "\n")} {
				for _, size := range []int{1, 63, 1 << 20} {
					if size == 1 && len(token) > 600 {
						continue
					}
					got := masked(New(Secrets{}), text, size)
					if !strings.Contains(got, "***") || len(got) > 8+2*before+6 && len(token) < maxHold/2 {
						t.Fatalf("%d before: %.200q of %.80q", before, got, token)
					}
				}
			}
		}
	}
}

func TestWhatIsNoToken(t *testing.T) {
	letters := strings.Repeat("aB3dE5gH7j", 40)
	for _, text := range []string{
		"ghp_short", "xghp_" + letters[:36], "AKIA" + letters[:16], "AKIAABCDEFGHIJKLMNOPQRSTUV", "sig=short", "design=" + letters,
		"AIza" + letters[:36], "eyJ.eyJ", "eyJhbGciOiJSUzI1NiJ9.x", "eyJhbGciOiJSUzI1NiJ9",
		"-----BEGIN CERTIFICATE-----\n" + letters[:64] + "\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\nis how a key begins\n", "grep -----BEGIN PRIVATE KEY----- found nothing\n",
		"-----BEGIN PUBLIC KEY-----\n" + letters[:64], strings.Repeat("-", 1000), "-----BEGIN",
		"\x00\xff\r\x1b[31m%%%\n\n\r\n", "",
	} {
		for _, size := range []int{1, 3, 1000} {
			if got := masked(New(Of("hunter2")), text, size); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

// A line is not held back for what might come, unless it may be in a token's middle.
func TestWhatIsHeldBack(t *testing.T) {
	m := New(Of("hunter2"))
	for _, line := range []string{"all is well\n", "-----BEGIN CERTIFICATE-----\n", "of the wealth\n", "a long way to go\r\n", "no line yet", " g", "AA"} {
		got := string(m.Next([]byte(line)))
		got += string(m.Ease())
		if got != line {
			t.Errorf("of %q came only %q", line, got)
		}
	}
	// Whatever was let go is not said twice, and what follows is hidden.
	encoded := base64.StdEncoding.EncodeToString([]byte("hunter2"))
	got := string(m.Next([]byte(encoded[:2] + "\n")))
	got += string(m.Ease()) + string(m.Ease())
	got += string(m.Next([]byte(encoded[2:] + "\n")))
	if got += string(m.End()); got != encoded[:2]+"\n***\n" {
		t.Errorf("%q", got)
	}
}

// Whatever is cut wherever, the result is the same.
func TestCutsDoNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	values := []string{"hunter2", "correct horse\nbattery staple", "aaaaaaab"}
	parts := append([]string{"ghp_", "eyJ", ".", "-----BEGIN ", "PRIVATE KEY-----", "\n", "\r\n", "aaaaaa", "aWh1bnRlcjI", "=", "sig=",
		"hunter", "2", "-", "correct horse", "battery", "%20", "+", "A", "Zm9v",
		"-----END ", "-----", "--", strings.Repeat("aB3d", 12), "\\n", "RSA ", `"`, "ZXlK", "LS0tLS1CRUdJTi", "Z2hwX"}, values...)
	for _, value := range values {
		parts = append(parts, base64.StdEncoding.EncodeToString([]byte("x"+value)), url.QueryEscape(value))
	}
	for round := range 3000 {
		var text strings.Builder
		for range random.IntN(40) {
			text.WriteString(parts[random.IntN(len(parts))])
		}
		wanted := masked(New(Of(values...)), text.String(), 1<<20)
		m := New(Of(values...))
		var got strings.Builder
		for rest := text.String(); len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			got.Write(m.Next([]byte(rest[:n])))
			rest = rest[n:]
		}
		got.Write(m.End())
		if got.String() != wanted {
			t.Fatalf("round %d: %q\n became %q\n and in pieces %q", round, text.String(), wanted, got.String())
		}
		for _, value := range values {
			if strings.Contains(wanted, value) {
				t.Fatalf("%q has %q", wanted, value)
			}
		}
	}
}

func TestReadSecrets(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "..2026_11_21")
	must(t, os.Mkdir(data, 0o755))
	must(t, os.Symlink("..2026_11_21", filepath.Join(dir, "..data")))
	for name, content := range map[string]string{"password": "hunter2\n", "pin": "1234\n", "key": "line one\r\nline two\r\n"} {
		must(t, os.WriteFile(filepath.Join(data, name), []byte(content), 0o600))
		must(t, os.Symlink("..data/"+name, filepath.Join(dir, name)))
	}
	var notices []string
	secrets, err := ReadSecrets(dir, func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) })
	must(t, err)
	if got := masked(New(secrets), "hunter2 1234 line two", 100); got != "*** 1234 ***" {
		t.Errorf("%q", got)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "pin") || strings.Contains(notices[0], "1234") {
		t.Errorf("the notices are %q", notices)
	}
	must(t, os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("x"), maxSecrets), 0o600))
	if _, err := ReadSecrets(dir, t.Logf); err == nil {
		t.Error("too much was not refused")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A build cannot make the exporter stand still by what it prints.
func TestWhatTakesLong(t *testing.T) {
	for _, part := range []string{
		"-----BEGIN PRIVATE KEY-----\nno key\n", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----EN", "ZXlK", "eyJ",
		" eyJaaaaaaaaaa.", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t", "ghp_", " sig=", "-", "QUtJQ", "hunter", "aaaaaa", "aHVudGVyMg==\n", "\n", "a\n",
		" SecretAccessKey", "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("aB3dE5gH\n", 1700),
	} {
		const size = 4 << 20
		text := []byte(strings.Repeat(part, size/len(part)))
		m := New(Of("hunter2", "aaaaaaab", "second"))
		began := time.Now()
		for piece := range slices.Chunk(text, 1<<20) {
			m.Next(piece)
		}
		m.End()
		speed := float64(size) / (1 << 20) / time.Since(began).Seconds()
		t.Logf("%6.1f MiB/s of %.40q", speed, part)
		if speed < 0.5 {
			t.Errorf("%.2f MiB/s of %q", speed, part)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	lines := make([]byte, 0, 4<<20)
	for len(lines) < 4<<20-200 {
		lines = fmt.Appendf(lines, "[%7d] Building C object src/engine/CMakeFiles/ke1.dir/valve_%d.c.o -O2 -g -Wall\n", len(lines), random.IntN(9999))
	}
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	encoded := []byte(wrapped(base64.StdEncoding.EncodeToString(noise[:3<<20]), 76, "\n"))
	values := make([]string, 20)
	for i := range values {
		values[i] = fmt.Sprintf("secret-%d-%x", i, random.Uint64())
	}
	for name, secrets := range map[string]Secrets{"tokens": {}, "20 values": Of(values...)} {
		for kind, text := range map[string][]byte{"lines": lines, "noise": noise, "base64": encoded} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				m := New(secrets)
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					m.Next(text)
				}
			})
		}
	}
}
