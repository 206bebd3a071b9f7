/** XML as a tree that knows where each node stands in the text, so that the text around it can stay as it is. */

/** As far as it is used of the tree that the parser makes. */
export interface XmlNode {
  readonly type: string;
  /** With its prefix. */
  readonly name?: string;
  readonly attribs?: Readonly<Record<string, string>>;
  readonly data?: string;
  readonly children?: readonly XmlNode[];
  /** The first and the last character, end tag included. */
  readonly startIndex: number | null;
  readonly endIndex: number | null;
}

/** @returns the tree above the outermost element. Mistakes in the text are passed over. */
export async function parseXml(text: string): Promise<XmlNode> {
  const { parseDocument } = await import('htmlparser2');
  return parseDocument(text, { xmlMode: true, withStartIndices: true, withEndIndices: true });
}

export function isElement({ type }: XmlNode): boolean {
  return type === 'tag' || type === 'script' || type === 'style';
}

export function elementsOf({ children = [] }: XmlNode): readonly XmlNode[] {
  return children.filter(isElement);
}

/** Without the prefix. */
export function localNameOf({ name = '' }: XmlNode): string {
  return name.slice(name.indexOf(':') + 1);
}

/** The value of the attribute of that local name, whatever its prefix. */
export function attributeOf({ attribs = {} }: XmlNode, localName: string): string | undefined {
  return Object.entries(attribs).find(([name]) => name.slice(name.indexOf(':') + 1) === localName)?.[1];
}

/** Whether a node, or one within it, is what `test` looks for. */
export function holds(node: XmlNode, test: (node: XmlNode) => boolean): boolean {
  return test(node) || (node.children ?? []).some((child) => holds(child, test));
}

/** The outermost elements of a local name within a node. */
export function outermost(node: XmlNode, localName: string): readonly XmlNode[] {
  return elementsOf(node).flatMap((child) =>
    localNameOf(child) === localName ? [child] : outermost(child, localName),
  );
}
