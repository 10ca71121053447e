/** An element that the page holds from the start. */
export const byId = (id: string): HTMLElement => document.getElementById(id)!;

/** A new element. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, string>,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Gives an element its text. The same text again would be announced and laid out again. */
export function setText(place: Element, text: string): void {
  if (place.textContent !== text) place.textContent = text;
}
