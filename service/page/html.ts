/** Text that is markup already. Only `html` and `raw` make it. */
export class Markup {
    public constructor(public readonly text: string) {}
}

type Part = Markup | string | number | false | undefined | readonly Part[];

/** A template of markup: what is put in is escaped, unless it is markup itself; lists are joined, `false` is nothing. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
    return new Markup(strings.map((text, index) => text + rendered(parts[index])).join(""));
}

/** For markup that this program has made elsewhere, and nothing else. */
export function raw(text: string): Markup {
    return new Markup(text);
}

/** Fit for the content of an element, and for an attribute's value in double quotes. */
export function escaped(text: string): string {
    return text
        .replace(/&/g, "&amp;")
        .replace(/</g, "&lt;")
        .replace(/>/g, "&gt;")
        .replace(/"/g, "&quot;")
        .replace(/'/g, "&#39;");
}

function rendered(part: Part): string {
    if (part === undefined || part === false) {
        return "";
    }
    if (part instanceof Markup) {
        return part.text;
    }
    return typeof part === "object" ? part.map(rendered).join("") : escaped(String(part));
}
