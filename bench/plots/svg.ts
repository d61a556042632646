/** Pictures for a page: as text, readable in light and dark, with a title and a description for who does not see them. */

type Attributes = Readonly<Record<string, string | number>>;

export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
    const own = Object.entries(attributes)
        .map(([key, value]) => ` ${key}="${escaped(typeof value === "number" ? rounded(value) : value)}"`)
        .join("");
    return children.length === 0 ? `<${name}${own}/>` : `<${name}${own}>${children.join("")}</${name}>`;
}

export function label(x: number, y: number, content: string, attributes: Attributes = {}): string {
    return element("text", { x, y, ...attributes }, escaped(content));
}

/** What is told of the element that it is in. */
export function tooltip(content: string): string {
    return element("title", {}, escaped(content));
}

/** Through these points. */
export function curve(points: readonly (readonly [number, number])[], className: string): string {
    const path = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${rounded(x)} ${rounded(y)}`).join(" ");
    return element("path", { d: path, class: className });
}

export function line(x1: number, y1: number, x2: number, y2: number, className: string): string {
    return element("line", { x1, y1, x2, y2, class: className });
}

/** How many series can be told apart, by color and by dashes. */
export const seriesCount = 6;

/** By their number; dashes and markers tell them apart where colors do not. */
export function seriesClass(index: number): string {
    return `s${index % seriesCount}`;
}

export interface Picture {
    readonly title: string;
    /** What it shows, in a sentence or two. */
    readonly description: string;
    readonly width: number;
    readonly height: number;
}

/** Its ground is its own: a page that is dark while the reader's system is light, or the other way, does not swallow it. */
export function picture({ title, description, width, height }: Picture, body: readonly string[]): string {
    const attributes = {
        xmlns: "http://www.w3.org/2000/svg",
        ...{ viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": "title description" },
    };
    const parts = [
        element("title", { id: "title" }, escaped(title)),
        element("desc", { id: "description" }, escaped(description)),
        element("style", {}, style),
        element("rect", { width, height, class: "ground" }),
        label(16, 26, title, { class: "heading" }),
        ...body,
    ];
    return `${element("svg", attributes, "\n", parts.join("\n"), "\n")}\n`;
}

const light = ["#0072b2", "#c04a00", "#00795a", "#a0408a", "#8a6100", "#4a5568"];
const dark = ["#58a6ff", "#ff9a57", "#3fb950", "#e29bd4", "#e3b341", "#b1bac4"];

/** Each color has at least 4.5 : 1 to its ground (WCAG 2.2, 1.4.3); the grid is not needed to read the picture. */
const style = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.heading { font-size: 15px; font-weight: 600 }
.ground { fill: #ffffff }
.axis { stroke: #59636e; fill: none }
.grid { stroke: #e3e7eb }
.goal { stroke: #1f2328; stroke-width: 2; stroke-dasharray: 2 3 }
.faint { stroke: #59636e; stroke-dasharray: 1 4; fill: none }
.line { fill: none; stroke-width: 2 }
${colors(light)}
${Array.from({ length: seriesCount - 1 }, (_, index) => `.line.s${index + 1} { stroke-dasharray: ${dashes(index)} }`).join("\n")}
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 }
.axis, .faint { stroke: #9198a1 }
.grid { stroke: #262c36 }
.goal { stroke: #e6edf3 }
${colors(dark)}
}
`;

function colors(all: readonly string[]): string {
    return all
        .map((color, index) => `.s${index} { stroke: ${color} } .dot.s${index} { fill: ${color}; stroke: none }`)
        .join("\n");
}

function dashes(index: number): string {
    return ["8 4", "2 3", "10 3 2 3", "5 5", "14 4"][index] ?? "none";
}

function rounded(value: number): string {
    return String(Math.round(value * 100) / 100);
}

function escaped(text: string): string {
    return text
        .replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(">", "&gt;")
        .replaceAll('"', "&quot;")
        .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "\ufffd");
}
