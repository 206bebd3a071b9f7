/**
 * HTML by tagged templates: what stands in the template is markup, what is put into it is text and is escaped, unless it is
 * such a template itself. So a page cannot hold anything unescaped by oversight. Values belong into elements and quoted
 * attributes only.
 *
 * @example html`<ul>${names.map((name) => html`<li title="${name}">${name}</li>`)}</ul>`.markup
 */

export interface Html {
  readonly markup: string;
}

/** Nothing is printed for null, so that a part can be left out. */
export type HtmlValue = string | number | null | Html | readonly HtmlValue[];

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  const parts = strings.map((string, i) => string + markupOf(values[i] ?? null));
  return { markup: parts.join('') };
}

function markupOf(value: HtmlValue): string {
  if (value === null) return '';
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number') return String(value);
  return 'markup' in value ? value.markup : value.map(markupOf).join('');
}

/** Text as it stands in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => escapes[character] as string);
}
