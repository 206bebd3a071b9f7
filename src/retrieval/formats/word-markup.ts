/**
 * Rewrites the markup of a Word document where the reader (mammoth) would pass over text: it knows neither simple fields,
 * nor runs of another direction, ruby, equations and some breaks, and of text boxes only their old form. Each is written
 * as what it does know; everything else stays as it is.
 */
import { escapeHtml } from '../../html.ts';
import { equationText } from './word-equations.ts';
import { elementsOf, holds, isElement, localNameOf, outermost, parseXml, type XmlNode } from './xml.ts';

/** Most documents hold none of these, and need not be parsed for them. */
const mayNeed = /<(?:[\w.-]+:)?(?:fldSimple|bdo|dir|ruby|oMath|oMathPara|cr|ptab|AlternateContent|txbxContent)[\s/>]/;

const rooms = {
  word: [
    'http://schemas.openxmlformats.org/wordprocessingml/2006/main',
    'http://purl.oclc.org/ooxml/wordprocessingml/main',
  ],
  math: [
    'http://schemas.openxmlformats.org/officeDocument/2006/math',
    'http://purl.oclc.org/ooxml/officeDocument/math',
  ],
  compatibility: ['http://schemas.openxmlformats.org/markup-compatibility/2006'],
} as const;
type Room = keyof typeof rooms;

/** @returns the part of a document with all its text in elements that the reader knows. */
export async function withReadableText(xml: string): Promise<string> {
  return mayNeed.test(xml) ? new Rewriter(xml).rewrite(await parseXml(xml)) : xml;
}

/** The namespaces that prefixes stand for; that without a prefix is ''. */
type Scope = Readonly<Record<string, string>>;

class Rewriter {
  readonly #xml: string;

  constructor(xml: string) {
    this.#xml = xml;
  }

  rewrite(document: XmlNode): string {
    return document.children?.length === 0 ? this.#xml : this.#around(document, this.#inner(document, {}));
  }

  /** The node as it is to be read. */
  #text(node: XmlNode, outer: Scope, parent: XmlNode): string {
    if (!isElement(node)) return this.#slice(node);
    const scope = withDeclared(outer, node);
    const name = localNameOf(node);
    const prefix = node.name?.includes(':') === true ? node.name.slice(0, node.name.indexOf(':')) : '';
    const room = roomOf(scope[prefix]);
    if (room === 'math' && (name === 'oMath' || name === 'oMathPara')) return equation(node, parent, scope);
    if (room === 'compatibility' && name === 'AlternateContent') return this.#alternatives(node, scope);
    if (room !== 'word') return this.#around(node, this.#inner(node, scope));
    switch (name) {
      case 'fldSimple':
      case 'bdo':
      case 'dir':
        return this.#inner(node, scope, 'fldData');
      case 'ruby':
        return this.#ruby(node, scope);
      case 'cr':
        return tag(scope, 'br', '');
      case 'ptab':
        return tag(scope, 'tab', '');
      case 'drawing': {
        const boxes = outermost(node, 'txbxContent').map((box) => this.#text(box, scope, node));
        return this.#slice(node) + (boxes.length === 0 ? '' : tag(scope, 'pict', boxes.join('')));
      }
      default:
        return this.#around(node, this.#inner(node, scope));
    }
  }

  /** The reader takes the fallback; where that is missing or a mere picture of text, the text itself is to be read. */
  #alternatives(node: XmlNode, scope: Scope): string {
    const choice = elementsOf(node).find((child) => localNameOf(child) === 'Choice' && holds(child, isText));
    const fallback = elementsOf(node).find((child) => localNameOf(child) === 'Fallback');
    if (choice !== undefined && (fallback === undefined || !holds(fallback, isText))) {
      return this.#inner(choice, withDeclared(scope, choice));
    }
    return this.#around(node, this.#inner(node, scope));
  }

  /** The base, and behind it in brackets how it is read. */
  #ruby(node: XmlNode, scope: Scope): string {
    const base = outermost(node, 'rubyBase').map((child) => this.#inner(child, scope));
    const reading = outermost(node, 'rt').map((child) => this.#inner(child, scope));
    const bracket = (text: string) => tag(scope, 't', text);
    return base.join('') + (reading.length === 0 ? '' : bracket('(') + reading.join('') + bracket(')'));
  }

  /** What stands between a node's tags. */
  #inner(node: XmlNode, scope: Scope, left = ''): string {
    const children = (node.children ?? []).filter((child) => left === '' || localNameOf(child) !== left);
    return children.map((child) => this.#text(child, scope, node)).join('');
  }

  /** A node with `inner` in place of what it holds. */
  #around(node: XmlNode, inner: string): string {
    const { children = [] } = node;
    const [first, last] = [children[0], children.at(-1)];
    if (first === undefined || last === undefined) return this.#slice(node);
    const before = this.#xml.slice(node.startIndex ?? 0, first.startIndex ?? 0);
    return before + inner + this.#xml.slice((last.endIndex ?? 0) + 1, (node.endIndex ?? this.#xml.length) + 1);
  }

  #slice({ startIndex, endIndex }: XmlNode): string {
    return this.#xml.slice(startIndex ?? 0, (endIndex ?? -1) + 1);
  }
}

/** A run, and where no run may stand a paragraph of its own. */
function equation(node: XmlNode, parent: XmlNode, scope: Scope): string {
  const run = tag(scope, 'r', tag(scope, 't', escapeHtml(equationText(node))));
  const isBetweenParagraphs =
    localNameOf(parent) === 'body' || elementsOf(parent).some((child) => localNameOf(child) === 'p');
  return isBetweenParagraphs ? tag(scope, 'p', run) : run;
}

function isText(node: XmlNode): boolean {
  return isElement(node) && localNameOf(node) === 't';
}

function withDeclared(scope: Scope, { attribs = {} }: XmlNode): Scope {
  const declared = Object.entries(attribs).filter(([name]) => name === 'xmlns' || name.startsWith('xmlns:'));
  if (declared.length === 0) return scope;
  return { ...scope, ...Object.fromEntries(declared.map(([name, value]) => [name.slice('xmlns:'.length), value])) };
}

function roomOf(namespace: string | undefined): Room | undefined {
  const names = Object.keys(rooms) as readonly Room[];
  return names.find((name) => (rooms[name] as readonly (string | undefined)[]).includes(namespace));
}

/** An element of the word processor's namespace. */
function tag(scope: Scope, name: string, inner: string): string {
  const prefix = Object.keys(scope).find((prefix) => roomOf(scope[prefix]) === 'word');
  const qualified = prefix === undefined || prefix === '' ? name : `${prefix}:${name}`;
  const declared = prefix === undefined ? ` xmlns="${rooms.word[0]}"` : '';
  return `<${qualified}${declared}${name === 't' ? ' xml:space="preserve"' : ''}>${inner}</${qualified}>`;
}
