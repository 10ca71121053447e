/**
 * Makes what an element holds that of the HTML. Elements that stay in their place stay the same elements, so that focus,
 * scrolling, and what a reader has opened outlast a redraw.
 */
export function updateContent(element: Element, html: string): void {
  const template = document.createElement('template');
  template.innerHTML = html;
  updateChildren(element, template.content);
}

function updateChildren(own: Node, wanted: Node): void {
  // Nodes that are taken over leave the list.
  const nodes = [...wanted.childNodes];
  nodes.forEach((node, at) => {
    const there = own.childNodes[at] as ChildNode | undefined;
    if (there === undefined) own.appendChild(node);
    else updateNode(there, node);
  });
  while (own.childNodes.length > nodes.length) own.lastChild!.remove();
}

function updateNode(own: ChildNode, wanted: ChildNode): void {
  if (own.isEqualNode(wanted)) return;
  // Nobody opens or focuses a part of a picture.
  const kept = own instanceof HTMLElement && wanted instanceof HTMLElement && own.tagName === wanted.tagName;
  if (!kept) {
    own.replaceWith(wanted);
    return;
  }
  updateAttributes(own, wanted);
  updateChildren(own, wanted);
}

function updateAttributes(own: HTMLElement, wanted: HTMLElement): void {
  for (const { name } of [...own.attributes]) {
    const opened = own instanceof HTMLDetailsElement && name === 'open';
    if (!opened && !wanted.hasAttribute(name)) own.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) own.setAttribute(name, value);
}
