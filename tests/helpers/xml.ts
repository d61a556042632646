import { parser } from "sax";

/** An element of an XML document, with what is in it. */
export interface XmlElement {
    readonly name: string;
    readonly attributes: Readonly<Record<string, string>>;
    readonly children: XmlElement[];
    text: string;
}

/** @throws where it is not well-formed */
export function parseXml(document: string): XmlElement {
    const root: XmlElement = { name: "", attributes: {}, children: [], text: "" };
    const open = [root];
    const strict = parser(true);
    strict.onerror = (error) => {
        throw error;
    };
    strict.onopentag = ({ name, attributes }) => {
        const element = { name, attributes: attributes as Record<string, string>, children: [], text: "" };
        open.at(-1)?.children.push(element);
        open.push(element);
    };
    strict.ontext = (text) => {
        const element = open.at(-1);
        if (element) {
            element.text += text;
        }
    };
    strict.onclosetag = () => void open.pop();
    strict.write(document).close();
    const [only] = root.children;
    if (!only || root.children.length > 1) {
        throw new Error("a document has one element");
    }
    return only;
}

/** All elements of that name, in the element or below it. */
export function elementsOf(element: XmlElement, name: string): readonly XmlElement[] {
    return element.children.flatMap((child) => [...(child.name === name ? [child] : []), ...elementsOf(child, name)]);
}
