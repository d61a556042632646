package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func read(t *testing.T, report string) Summary {
	t.Helper()
	var s Summary
	if err := s.read(strings.NewReader(report)); err != nil {
		t.Fatalf("%v in %s", err, report)
	}
	return s
}

func TestReports(t *testing.T) {
	for name, c := range map[string]struct {
		report string
		want   Summary
	}{
		"suites in suites": {
			`<?xml version="1.0" encoding="UTF-8"?>
			<testsuites tests="99" failures="98"><testsuite name="outer"><testsuite name="inner" tests="7">
			<testcase classname="a.B" name="passes" time="0.5"/>
			<testcase classname="a.B" name="fails" time="1,000.25"><failure message="a &lt; b">stack</failure></testcase>
			</testsuite><testcase name="breaks"><error/></testcase><testcase name="is left out"><skipped/></testcase>
			</testsuite></testsuites>`,
			Summary{Tests: 4, Failures: 1, Errors: 1, Skipped: 1, DurationSeconds: 1000.75, Failed: []string{"a.B.fails", "breaks"}},
		},
		"no attributes at all": {`<testsuite><testcase/><testcase><failure/></testcase></testsuite>`,
			Summary{Tests: 2, Failures: 1, Failed: []string{""}}},
		"a suite that only says": {`<testsuites><testsuite tests="5" failures="1" errors="2" skipped="1" time="2.5"/></testsuites>`,
			Summary{Tests: 5, Failures: 1, Errors: 2, Skipped: 1, DurationSeconds: 2.5}},
		"a suite that says what cannot be": {`<testsuite tests="-5" failures="many" time="NaN"/>`, Summary{}},
		"output that looks like tests": {`<testsuite><testcase name="a"><system-out><![CDATA[<testcase><failure/>]] >]]></system-out>` +
			`<!-- <testcase/> -- > --></testcase></testsuite>`, Summary{Tests: 1}},
		"a > in an attribute":    {`<testsuite><testcase name="a > b" classname='c"d'><failure/></testcase></testsuite>`, Summary{Tests: 1, Failures: 1, Failed: []string{`c"d.a > b`}}},
		"another encoding":       {"<testsuite><testcase name='\xe4'><error/></testcase></testsuite>", Summary{Tests: 1, Errors: 1, Failed: []string{"?"}}},
		"googletest's":           {`<testsuite><testcase name="a" status="notrun" result="suppressed"/></testsuite>`, Summary{Tests: 1, Skipped: 1}},
		"a failure and an error": {`<testsuite><testcase><failure/><error/></testcase></testsuite>`, Summary{Tests: 1, Errors: 1, Failed: []string{""}}},
		"what steers a terminal": {"<testsuite><testcase name='&#x9;a&#10;b'><failure/></testcase></testsuite>", Summary{Tests: 1, Failures: 1, Failed: []string{" a b"}}},
	} {
		if got := read(t, c.report); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

const laughs = `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol2 "&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;">]><testsuite><testcase name="&lol2;"/></testsuite>`

func TestWhatIsNoReport(t *testing.T) {
	for report, want := range map[string]string{
		``:                                 "not complete",
		`<testsuite>`:                      "not complete",
		`<testsuite`:                       "unexpected EOF",
		`<testsuite><![CDATA[`:             "unexpected EOF",
		`<checkstyle/>`:                    "no JUnit report",
		`<testsuite/><testsuite/>`:         "no JUnit report",
		`<testsuite></testsuites>`:         "ends what was not begun",
		`</testsuite>`:                     "ends what was not begun",
		laughs:                             "DOCTYPE",
		`<testsuite name="&lol;"/>`:        "entity",
		`<testsuite name=>`:                "attribute",
		strings.Repeat("<testsuite>", 1e5): "nested more than 200 deep",
		`<testsuite name="` + strings.Repeat("a", maxTag) + `"/>`: "a tag of more than",
	} {
		var s Summary
		if err := s.read(strings.NewReader(report)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, not %s", report, err, want)
		}
	}
}

// repeated is a document of any size that takes no memory.
type repeated struct {
	begin, middle, end string
	left               int64
	rest               string
	state              int
}

func (r *repeated) Read(p []byte) (int, error) {
	for r.rest == "" {
		switch {
		case r.state == 0:
			r.rest, r.state = r.begin, 1
		case r.state == 1 && r.left > 0:
			r.rest = r.middle
			r.left -= int64(len(r.middle))
		case r.state == 1:
			r.rest, r.state = r.end, 2
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestLargeReports(t *testing.T) {
	size := int64(maxReport - 1<<20)
	kilobyte := strings.Repeat("a test prints this line of text\n", 32)
	cases := map[string]*repeated{
		"text":  {begin: `<testsuite><testcase><system-out>`, middle: kilobyte, end: `</system-out></testcase></testsuite>`, left: size},
		"CDATA": {begin: `<testsuite><testcase><system-out><![CDATA[`, middle: kilobyte, end: `]]></system-out></testcase></testsuite>`, left: size},
		"tests": {begin: `<testsuite>`, middle: `<testcase name="one of very many"><failure/></testcase>`, end: `</testsuite>`, left: 100 << 20},
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, report := range cases {
		var s Summary
		if err := s.read(report); err != nil || s.Tests == 0 {
			t.Errorf("%s: %v, %d tests", name, err, s.Tests)
		}
	}
	runtime.ReadMemStats(&after)
	if after.Sys-before.Sys > 64<<20 {
		t.Errorf("it took %d MiB", (after.Sys-before.Sys)>>20)
	}
	var s Summary
	endless := &repeated{begin: `<testsuite>`, middle: kilobyte, left: 1 << 62}
	if err := s.read(endless); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("without end: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	good := `<testsuite><testcase name="a"><failure/></testcase></testsuite>`
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "x/y"), 0o755),
		os.WriteFile(filepath.Join(dir, "a.xml"), []byte(good), 0o644),
		os.WriteFile(filepath.Join(dir, "x/y/TEST-b.XML"), []byte(good), 0o644),
		os.WriteFile(filepath.Join(dir, "half.xml"), []byte(`<testsuite><testcase/><testcase><failure/></testcase>`), 0o644),
		os.WriteFile(filepath.Join(dir, "notes.txt"), []byte(good), 0o644),
		os.Symlink("a.xml", filepath.Join(dir, "link.xml")),
		os.Symlink("/", filepath.Join(dir, "root")),
		syscall.Mkfifo(filepath.Join(dir, "fifo.xml"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := summarize(dir)
	want := Summary{Reports: 3, Tests: 2, Failures: 2, Failed: []string{"a", "a"}, Unreadable: []string{"half.xml: it is not complete"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := summarize(filepath.Join(dir, "none")); err != nil || got.Reports != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
