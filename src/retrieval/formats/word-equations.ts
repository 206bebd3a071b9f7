/** Equations of Word documents (Office Math) on one line, much as they are typed: "(a+b)/c", "x_i^2", "∑_(i=1)^n x". */
import { attributeOf, elementsOf, isElement, localNameOf, type XmlNode } from './xml.ts';

/** @param node an `oMath`, or what holds several of them, which come one behind the other */
export function equationText(node: XmlNode): string {
  const children = elementsOf(node);
  /** What the parts called `name` hold. */
  const all = (name: string): string[] =>
    children.filter((child) => localNameOf(child) === name).map((child) => equationText(child));
  const the = (name: string): string => all(name).join('');
  /** A property of the structure, such as the sign of a sum; null where it has none. */
  const property = (name: string): string | null => {
    const found = children.flatMap((child) => (localNameOf(child).endsWith('Pr') ? elementsOf(child) : []));
    const node = found.find((child) => localNameOf(child) === name);
    return node === undefined ? null : (attributeOf(node, 'val') ?? '');
  };
  const below = (text: string): string => (text === '' ? '' : `_${grouped(text)}`);
  const above = (text: string): string => (text === '' ? '' : `^${grouped(text)}`);
  switch (localNameOf(node)) {
    case 't':
      return textOf(node);
    case 'f':
      return property('type') === 'noBar'
        ? `(${the('num')} ¦ ${the('den')})`
        : `${grouped(the('num'))}/${grouped(the('den'))}`;
    case 'sSup':
    case 'sSub':
    case 'sSubSup':
      return `${grouped(the('e'))}${below(the('sub'))}${above(the('sup'))}`;
    case 'sPre':
      return `${below(the('sub'))}${above(the('sup'))} ${the('e')}`;
    case 'limLow':
      return `${the('e')}${below(the('lim'))}`;
    case 'limUpp':
      return `${the('e')}${above(the('lim'))}`;
    case 'rad':
      return the('deg').trim() === '' ? `√(${the('e')})` : `√[${the('deg')}](${the('e')})`;
    case 'nary':
      return `${property('chr') ?? '∫'}${below(the('sub'))}${above(the('sup'))} ${the('e')}`;
    case 'd':
      return `${property('begChr') ?? '('}${all('e').join(property('sepChr') ?? '|')}${property('endChr') ?? ')'}`;
    case 'func':
      return `${the('fName')} ${the('e')}`;
    case 'acc':
      return `${the('e')}${property('chr') ?? '\u0302'}`;
    case 'm':
      return `[${all('mr').join('; ')}]`;
    case 'mr':
      return all('e').join(', ');
    case 'eqArr':
      return all('e').join('; ');
    case 'oMathPara':
      return all('oMath').join('; ');
    case 'del':
    case 'moveFrom':
      return '';
    default:
      return children.map((child) => (localNameOf(child).endsWith('Pr') ? '' : equationText(child))).join('');
  }
}

function textOf({ children = [] }: XmlNode): string {
  return children.map((child) => (isElement(child) ? '' : (child.data ?? textOf(child)))).join('');
}

/** In brackets, unless it is one name, one number or one sign. */
function grouped(text: string): string {
  return /^(?:[\p{L}\p{M}\p{N}.]*|.)$/u.test(text) ? text : `(${text})`;
}
